// A number that changes with the step: a loss's weight, a loss's temperature.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"

namespace decant::trainer {

/// From a start value: linear warm-up that reaches it at step `warmup_steps`, then constant, linear or cosine to `end`
/// over `steps`. A function of the step, so a resumed run goes on where it was.
struct ValueSchedule : base::Options {
  std::string kind = "constant";  // constant | linear | cosine
  std::int64_t steps = 0;         // from start to end, after warm-up; not with constant
  double end = 0;
  std::int64_t warmup_steps = 0;
  double warmup_from = 0;
  void describe(base::Fields& fields) override;
  [[nodiscard]] double at(double start, std::int64_t step) const;
  [[nodiscard]] bool changes() const { return kind != "constant" || warmup_steps > 0; }
  /// Throws ConfigError naming `key` when the fields do not fit each other.
  void check(const std::string& key) const;
};

/// The same of a temperature: rounded to the nearest (by ratio) of `grid` where there is one.
struct TemperatureSchedule : ValueSchedule {
  TemperatureSchedule() { end = 1, warmup_from = 1; }
  std::vector<double> grid;
  void describe(base::Fields& fields) override;
  [[nodiscard]] double at(double start, std::int64_t step) const;
  /// Every value that a run can meet: those of the grid, or the start when nothing changes; empty: any.
  [[nodiscard]] std::vector<double> values(double start) const;
};

}  // namespace decant::trainer
