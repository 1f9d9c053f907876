#include "dist/errors.h"

#include <array>
#include <cstdio>

namespace decant::dist {

namespace {

std::string describe(const std::string& operation, std::int64_t sequence, std::int64_t bytes,
                     std::chrono::milliseconds waited, const std::string& why) {
  std::array<char, 64> seconds{};
  std::snprintf(seconds.data(), seconds.size(), "%.1f", std::chrono::duration<double>(waited).count());
  return operation + " #" + std::to_string(sequence) + " of " + std::to_string(bytes) + " bytes, after waiting " +
         seconds.data() + " s: " + why;
}

}  // namespace

CommError::CommError(const std::string& operation, std::int64_t sequence, std::int64_t bytes,
                     std::chrono::milliseconds waited, const std::string& why)
    : base::Error(base::ExitCode::kCommunication, describe(operation, sequence, bytes, waited, why)) {}

}  // namespace decant::dist
