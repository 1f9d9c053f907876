// A task joins a kind of data to a kind of model; the training loop knows only this.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/loader.h"
#include "models/weights_file.h"
#include "trainer/loss.h"

namespace decant::trainer {

/// A loss with the name it has in the job file and its factor.
struct NamedLoss {
  std::string name;
  double factor = 1;
  std::shared_ptr<Loss> loss;
};

/// metric -> value, as in report.json ("ndcg@10").
using MetricMap = std::map<std::string, double>;

/// One model under training or evaluation.
class Task {
 public:
  virtual ~Task() = default;
  /// Everything that is trained, by name; losses' own parameters come as "loss.<name>.<parameter>".
  [[nodiscard]] virtual models::NamedTensors parameters() = 0;
  /// The model's tensors alone: what is exported.
  [[nodiscard]] virtual models::NamedTensors weights() = 0;
  virtual void train(bool on) = 0;
  /// Sums of the losses over the micro-batch, in the order of losses(); `step_key` keys all randomness of the step.
  [[nodiscard]] virtual std::vector<torch::Tensor> loss_sums(const data::LabelledBatch& batch,
                                                             std::uint64_t step_key) = 0;
  [[nodiscard]] virtual const std::vector<NamedLoss>& losses() const = 0;
  /// Metrics on valid, all items ranked; the same on every rank. Collective.
  [[nodiscard]] virtual MetricMap validate() = 0;
};

}  // namespace decant::trainer
