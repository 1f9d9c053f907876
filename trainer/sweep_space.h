// What a sweep tries: values of job keys as a grid or drawn at random (Bergstra, Bengio 2012).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/options.h"

namespace decant::trainer {

/// The values of one key of the job: a list, or for random search a range.
struct SweepKeyOptions : base::Options {
  std::vector<double> numbers;
  std::vector<std::string> texts;
  double low = 0, high = 0;
  std::string scale = "linear";  // linear | log
  bool integer = false;
  void describe(base::Fields& fields) override;
  [[nodiscard]] bool is_range() const { return low != high; }
};

struct SweepOptions : base::Options {
  std::string search = "grid";  // grid | random
  std::int64_t trials = 10, seeds = 1, finalists = 0;
  base::GroupMap<SweepKeyOptions> keys;
  void describe(base::Fields& fields) override;
  /// Throws ConfigError: a key that cannot be swept, without values, with a range in a grid.
  void check() const;
};

/// One choice of values, in the order of the keys.
using Setting = std::vector<std::pair<std::string, base::Json>>;

/// Grid: every combination, the last key fastest. Random: `trials` draws, each a function of (seed, trial, key). One
/// empty setting when there are no keys.
[[nodiscard]] std::vector<Setting> settings_of(const SweepOptions& options, std::uint64_t seed);

/// Sets the setting's values in a resolved job; another `type` takes that kind's own defaults.
void apply(const Setting& setting, base::Json& job);

/// "lr=0.01 weight=2": the last parts of the keys where these differ, whole keys otherwise.
[[nodiscard]] std::string text_of(const Setting& setting);

}  // namespace decant::trainer
