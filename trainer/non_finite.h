// A step whose loss or gradient is not finite: found on all ranks at that step, traced to its rows, stopped at or skipped.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/checkpoint.h"
#include "trainer/context.h"
#include "trainer/job.h"
#include "trainer/task.h"

namespace decant::trainer {

class NonFiniteGuard {
 public:
  /// `where`: how messages call the stage ("student, hints"); `folder`: of the stage, for what is saved of a bad step.
  NonFiniteGuard(const TrainOptions& options, std::filesystem::path folder, std::string where, Task& task,
                 Context& context);

  /// At the beginning of a step: forgets the micro-batches of the one before.
  void begin_step() { seen_.clear(); }
  /// Of each micro-batch of this rank, before backward: `parts` are its loss sums, `total` what backward starts from.
  /// Returns the seed of backward, 1, or NaN where `total` is not finite: the sum of gradients over ranks then tells all
  /// of them in this step, without an exchange or a wait of its own. The batch must live until accepts() returns.
  [[nodiscard]] torch::Tensor seed(const data::LabelledBatch& batch, const std::vector<torch::Tensor>& parts,
                                   const torch::Tensor& total);
  /// Of the sum over ranks, before the optimiser; `norm` is the gradient's, the same on every rank. True: go on. False:
  /// the step is to be skipped (train.non_finite: skip); counted in `state`. Else throws NumericError, the same on every
  /// rank: names the step, the rank, the loss and its rows, which are saved in <folder>/non_finite/step-<n>.json.
  /// Collective where the norm is not finite.
  [[nodiscard]] bool accepts(double norm, std::uint64_t step_key, const std::vector<double>& divisors,
                             TrainState& state);

 private:
  struct Seen {
    const data::LabelledBatch* batch;
    std::vector<torch::Tensor> parts;  // detached, on their device
    torch::Tensor total;
  };
  [[nodiscard]] base::Json bad_loss() const;
  [[nodiscard]] base::Json bad_gradient(std::uint64_t step_key, const std::vector<double>& divisors);
  [[nodiscard]] base::Json find_culprits(std::uint64_t step_key, const std::vector<double>& divisors);
  [[nodiscard]] std::string tell(const base::Json& culprits, double norm) const;

  const TrainOptions& options_;
  std::filesystem::path folder_;
  std::string where_;
  Task& task_;
  Context& context_;
  std::vector<Seen> seen_;
};

/// L2 norm of all of `flats` together; a step waits for the device here.
[[nodiscard]] double gradient_norm(const std::vector<torch::Tensor>& flats);
/// Scales `flats`, whose norm is `norm`, to at most `bound` (0: none).
void clip_gradient(const std::vector<torch::Tensor>& flats, double norm, double bound);

}  // namespace decant::trainer
