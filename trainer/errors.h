#pragma once

#include <cstdint>
#include <string>

#include "base/errors.h"

namespace decant::trainer {

/// A loss, gradient or score that is not finite.
class NumericError : public base::Error {
 public:
  NumericError(std::int64_t step, const std::string& quantity)
      : base::Error(base::ExitCode::kNumerics, "step " + std::to_string(step) + ": " + quantity) {}
  explicit NumericError(const std::string& what) : base::Error(base::ExitCode::kNumerics, what) {}
};

/// A checkpoint or weight file that cannot be used.
class CheckpointError : public base::Error {
 public:
  CheckpointError(const std::string& path, const std::string& why)
      : base::Error(base::ExitCode::kCheckpoint, path + ": " + why) {}
};

/// Exit code of the trainer's own: the teacher gate is shut (docs/errors.md).
inline constexpr base::ExitCode kGateCode{8};

/// The teacher gate is shut: something simpler ranks better than the teacher.
class GateError : public base::Error {
 public:
  explicit GateError(const std::string& what) : base::Error(kGateCode, what) {}
};

/// A signal asked for the end and the work is saved: run the same command again to continue.
class Stopped : public base::Error {
 public:
  explicit Stopped(const std::string& what) : base::Error(base::ExitCode::kStopped, what) {}
};

}  // namespace decant::trainer
