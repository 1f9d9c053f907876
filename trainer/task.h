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
#include "trainer/sharded_parameters.h"

namespace decant::trainer {

class Sharing;

/// A loss with the name it has in the job file, its factor at the running step, and the label sets it works on.
struct NamedLoss {
  std::string name;
  double factor = 1;
  std::shared_ptr<Loss> loss;
  std::vector<std::string> sets{};  // none without labels
  double start = factor;            // the schedule's
  ValueSchedule schedule{};
  std::shared_ptr<Sharing> sharing{};  // null: one set
  double scale = 1;                    // the balance's
  /// What the mean of the loss is multiplied by.
  [[nodiscard]] double multiplier() const { return factor * scale; }
};

/// With what the options say of weight, schedule and label sets.
[[nodiscard]] NamedLoss name_loss(const std::string& name, const base::Options& options, std::shared_ptr<Loss> loss);

/// Something of a step that is added up over ranks and over an epoch.
struct Counted {
  std::string name;
  std::int64_t count = 0;
};

/// metric -> value, as in report.json ("ndcg@10").
using MetricMap = std::map<std::string, double>;

/// One model under training or evaluation.
class Task {
 public:
  virtual ~Task() = default;
  /// Everything that is trained, by name; losses' own parameters come as "loss.<name>.<parameter>".
  [[nodiscard]] virtual models::NamedTensors parameters() = 0;
  /// What is exported of the model: its tensors, in the form in which they are saved.
  [[nodiscard]] virtual models::NamedTensors weights() = 0;
  /// Those of parameters() of which each rank has some rows; their gradients are complete after backward.
  [[nodiscard]] virtual std::vector<ShardedParameter> sharded() { return {}; }
  /// Whether loss_sums and its backward are collective: every rank then makes as many calls, also with empty batches.
  [[nodiscard]] virtual bool collective() { return false; }
  virtual void train(bool on) = 0;
  /// Before the step's weights: sets what is scheduled.
  virtual void begin_step(std::int64_t step) = 0;
  /// The balance's factors of the losses, in the order of losses(), until they are set again.
  virtual void set_scales(const std::vector<double>& scales) = 0;
  /// Before anything of the micro-batch is weighed: replaces rows by augmented views, keyed by step and row.
  virtual void augment(data::LabelledBatch& batch, std::uint64_t step_key) = 0;
  /// What the task has counted on this rank since it was asked last; the same names on every rank.
  [[nodiscard]] virtual std::vector<Counted> take_counts() = 0;
  /// What the sums of losses()[loss] are divided by, of this micro-batch; asked before any forward.
  [[nodiscard]] virtual double loss_weight(std::size_t loss, const data::LabelledBatch& batch) = 0;
  /// Sums of the losses over the micro-batch, in the order of losses(); `step_key` keys all randomness of the step.
  [[nodiscard]] virtual std::vector<torch::Tensor> loss_sums(const data::LabelledBatch& batch,
                                                             std::uint64_t step_key) = 0;
  /// In the place of loss_sums, on a rank without a row in this step: takes part where losses meet over ranks.
  virtual void join(std::uint64_t step_key) = 0;
  /// After the optimiser's step.
  virtual void end_step() = 0;
  /// What a checkpoint keeps beside parameters, whole, and taking it back. Collective.
  [[nodiscard]] virtual models::NamedTensors state() = 0;
  virtual void restore(const models::NamedTensors& state) = 0;
  [[nodiscard]] virtual const std::vector<NamedLoss>& losses() const = 0;
  /// Metrics on valid, all items ranked; the same on every rank. Collective.
  [[nodiscard]] virtual MetricMap validate() = 0;
};

}  // namespace decant::trainer
