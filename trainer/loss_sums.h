// Sums of losses and counts over steps and ranks, for the curve of a training and its metrics.
#pragma once

#include <torch/types.h>

#include <vector>

#include "monitoring/metrics.h"
#include "trainer/checkpoint.h"
#include "trainer/task.h"

namespace decant::trainer {

/// The sums of a step stay on the device until the exchange of the next step carries them, so that no step waits for them.
class LossSums {
 public:
  /// Adds up in `state`: loss_sums, loss_weights and counts, since the last validation. References must outlive it.
  LossSums(Task& task, TrainState& state, monitoring::Metrics& metrics)
      : task_(task), state_(state), metrics_(metrics) {}

  /// Begins anew in the state.
  void reset();
  /// What a step has: `sums` of this rank, [] on any device, by loss; `weights` of all ranks, and the multiplier of each loss.
  void keep(std::vector<torch::Tensor> sums, std::vector<double> weights, std::vector<double> factors);
  /// A step is kept that is not added yet.
  [[nodiscard]] bool pending() const { return !weights_.empty(); }

  /// Appends the kept step's sums of this rank, and what the task counted in it, to what ranks add up; as many values whether
  /// one is kept or not. Waits for the device.
  void append(std::vector<double>& out);
  /// Takes the same values, summed over ranks.
  void add(const double* sums);

  /// Of the last step that was added: the losses' means, weighted.
  [[nodiscard]] double shown() const { return shown_; }

 private:
  Task& task_;
  TrainState& state_;
  monitoring::Metrics& metrics_;
  std::vector<torch::Tensor> sums_;
  std::vector<double> weights_, factors_;
  std::vector<Counted> counted_;
  double shown_ = 0;
};

}  // namespace decant::trainer
