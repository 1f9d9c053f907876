// What went wrong, as main tells it: one line and an exit code.
#pragma once

#include <functional>
#include <string>

#include "base/errors.h"
#include "dist/communicator.h"

namespace decant::launch {

struct Failure {
  int code = 1;
  std::string text;
};

/// Of the exception that is being handled. REQUIRES: inside a catch block.
[[nodiscard]] Failure current_failure();

/// "decant: text" or, with the rank's place, "decant: [rank 1/4 node7] text" on stderr, as one write: lines of several
/// ranks do not mix.
void print_failure(const std::string& text, const std::string& place = "");

/// "rank 1/4 node7".
[[nodiscard]] std::string place_of(int rank, int size);

/// A failure that all ranks know of: nobody waits for anybody, so each leaves by itself, and one of them speaks.
class CommonError : public base::Error {
 public:
  CommonError(base::ExitCode code, const std::string& what, bool speaks) : base::Error(code, what), speaks_(speaks) {}
  [[nodiscard]] bool speaks() const noexcept { return speaks_; }

 private:
  bool speaks_;
};

/// Does `work` on every rank, then compares: when it failed anywhere, throws CommonError on all ranks, with the message
/// of the first that failed. `work` must not communicate.
void agree(dist::Communicator& communicator, const std::function<void()>& work);

}  // namespace decant::launch
