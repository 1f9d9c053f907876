// Planted faults: the hidden option --fault point@step:rank[:action]. Passed down, never global.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace decant::trainer {

/// Points: import-share (a rank of several has read its share), import-read (before anything is written), import-write (parts, no manifest), import-commit (before it gets its
/// name), import-record (after that); step, collective, checkpoint-write, checkpoint-commit; label-part (before it is
/// written), label-write (half of it is), label-commit (before it gets its name), label-manifest; report, report-write,
/// report-commit. Actions: kill (SIGKILL, the default), stop (SIGSTOP), hang (the rank's own thread alone), throw, nan
/// (step only).
class FaultPlan {
 public:
  /// "step@7:1", "label-part@3:0:throw"; empty: no fault. Throws ConfigError.
  FaultPlan(const std::string& spec, int rank);
  FaultPlan() = default;
  /// Acts when `point` and `step` are the planned ones on the planned rank. Returns true when the action is "nan".
  bool at(const std::string& point, std::int64_t step) const;

 private:
  std::string point_, action_;
  std::int64_t step_ = -1;
};

}  // namespace decant::trainer
