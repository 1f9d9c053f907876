#include "launch/same_start.h"

#include <algorithm>
#include <sstream>
#include <vector>

#include "base/hash.h"
#include "launch/failure.h"

namespace decant::launch {

namespace {

/// The first line of `a` and of `b` that differ, without the blanks before them.
std::pair<std::string, std::string> first_difference(const std::string& a, const std::string& b) {
  const auto trimmed = [](const std::string& line) {
    const std::size_t begin = line.find_first_not_of(' ');
    return begin == std::string::npos ? std::string("nothing") : line.substr(begin);
  };
  std::istringstream left(a), right(b);
  while (left || right) {
    std::string mine, theirs;
    std::getline(left, mine);
    std::getline(right, theirs);
    if (mine != theirs) return {trimmed(mine), trimmed(theirs)};
  }
  return {"", ""};
}

}  // namespace

void require_same(dist::Communicator& communicator, const std::string& what, const std::string& text) {
  // Texts are long and nearly always the same: hashes first.
  const auto hashes = communicator.gather_bytes(base::hash_hex(text));
  const auto other = std::find_if(hashes.begin(), hashes.end(), [&](const auto& hash) { return hash != hashes[0]; });
  if (other == hashes.end()) return;
  const auto texts = communicator.gather_bytes(text);
  const auto rank = static_cast<std::size_t>(other - hashes.begin());
  const auto [first, second] = first_difference(texts[0], texts[rank]);
  throw CommonError(base::ExitCode::kConfig,
                    "ranks 0 and " + std::to_string(rank) + " have different " + what + ": '" + first + "' and '" +
                        second + "'; start all of them with the same program, job file and options",
                    communicator.rank() == 0);
}

}  // namespace decant::launch
