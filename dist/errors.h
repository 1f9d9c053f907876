#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/errors.h"

namespace decant::dist {

/// A collective that failed or timed out: names the operation, its sequence number, its bytes and how long it waited.
class CommError : public base::Error {
 public:
  CommError(const std::string& operation, std::int64_t sequence, std::int64_t bytes, std::chrono::milliseconds waited,
            const std::string& why);
  explicit CommError(const std::string& why) : base::Error(base::ExitCode::kCommunication, why) {}
};

}  // namespace decant::dist
