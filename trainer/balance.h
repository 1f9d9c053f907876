// Losses brought to one size: each is scaled so that its gradient is as long as a reference loss's, before its weight.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "trainer/recipe_options.h"
#include "trainer/task.h"

namespace decant::trainer {

/// scale[l] = |gradient of the reference| / |gradient of l|, taken every few steps and smoothed by geometric mean; between
/// 1e-6 and 1e6. 1 for the reference, before the first measurement, and for a loss that never had a gradient.
class Balance {
 public:
  /// `names` of the losses, in order. Does nothing where the reference is not among them, or is alone.
  Balance(const BalanceOptions& options, const std::vector<std::string>& names);
  [[nodiscard]] bool on() const { return on_; }
  /// Whether step `step` of the stage of training begins with a measurement.
  [[nodiscard]] bool due(std::int64_t step) const { return on_ && step % options_.every == 0; }
  /// Norms of the losses' own gradients, without weights.
  void take(const std::vector<double>& norms);
  [[nodiscard]] const std::vector<double>& scales() const { return scales_; }
  [[nodiscard]] base::Json by_name() const;
  /// For checkpoints: 0 where nothing was taken yet; empty when it is off.
  [[nodiscard]] std::vector<double> state() const;
  void restore(const std::vector<double>& state);

 private:
  BalanceOptions options_;
  std::vector<std::string> names_;
  bool on_ = false;
  std::size_t reference_ = 0;
  std::vector<double> scales_;
  std::vector<bool> known_;
};

/// L2 norm of the gradient of sum / divisor of each loss over the step of all ranks, with respect to the parameters of the
/// model that require one; those of losses are left out. `batches` are this rank's micro-batches. Touches no `.grad`;
/// keeps a copy of the parameters' size for each loss meanwhile. Collective.
[[nodiscard]] std::vector<double> gradient_norms(Task& task, const std::vector<data::LabelledBatch>& batches,
                                                 const std::vector<double>& divisors, std::uint64_t step_key,
                                                 dist::Communicator& communicator);

}  // namespace decant::trainer
