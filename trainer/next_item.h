// The task "next item": packed histories to catalogue scores.
#pragma once

#include <functional>
#include <memory>

#include "data/dataset.h"
#include "models/model.h"
#include "trainer/context.h"
#include "trainer/job.h"
#include "trainer/online_teacher.h"
#include "trainer/ranking.h"
#include "trainer/row_gather.h"
#include "trainer/screening.h"
#include "trainer/sharing.h"
#include "trainer/task.h"

namespace decant::trainer {

/// Tensors of a packed batch on `device`. `step_key` 0: evaluation, no dropout keys.
[[nodiscard]] models::Inputs make_inputs(const data::PackedBatch& batch, torch::Device device, std::uint64_t step_key);

/// Histograms of one split over this rank's blocks, all-reduced.
struct Evaluation {
  RankHistogram all, unseen;
  std::int64_t cold_targets = 0;  // targets never seen in training: ranked and counted
};

/// Sums over ranks, in place.
void reduce_evaluation(Evaluation& evaluation, dist::Communicator& communicator);

/// What losses are told of the run beside the model's widths.
struct RunFacts {
  std::uint64_t seed = 0;                             // of the losses' own first values
  std::map<std::string, std::int64_t> vector_widths;  // by label set of the hidden kind
  std::shared_ptr<OnlineTeacher> online = {};         // makes the label set "online"
  AugmentOptions augment = {};
  PerturbationOptions perturbation = {};
  ScreeningOptions screening = {};
};

class NextItem : public Task {
 public:
  NextItem(std::shared_ptr<models::SequenceModel> model, std::vector<NamedLoss> losses, const data::Dataset& dataset,
           const SoftmaxOptions& softmax, Context& context, const RunFacts& facts = {});
  models::NamedTensors parameters() override;
  models::NamedTensors weights() override;
  std::vector<ShardedParameter> sharded() override { return sharded_parameters(*model_); }
  bool collective() override;
  void train(bool on) override;
  void begin_step(std::int64_t step) override;
  void set_scales(const std::vector<double>& scales) override;
  void augment(data::LabelledBatch& batch, std::uint64_t step_key) override;
  std::vector<Counted> take_counts() override;
  double loss_weight(std::size_t loss, const data::LabelledBatch& batch) override;
  std::vector<torch::Tensor> loss_sums(const data::LabelledBatch& batch, std::uint64_t step_key) override;
  void join(std::uint64_t step_key) override;
  void end_step() override;
  models::NamedTensors state() override;
  void restore(const models::NamedTensors& state) override;
  const std::vector<NamedLoss>& losses() const override { return losses_; }
  MetricMap validate() override;

 protected:
  /// The stored label sets that the losses work on, of the targets of a batch. `more`: temperatures asked for beside
  /// those of the losses.
  [[nodiscard]] virtual LabelSets stored_labels(const data::LabelledBatch& batch, const std::set<double>& more);

 private:
  /// Stored labels, the online teacher's, and what the screening says of them.
  [[nodiscard]] LabelSets labels_of(const data::LabelledBatch& batch, const models::Inputs& inputs);
  [[nodiscard]] std::vector<torch::Tensor> pass(const models::Inputs& inputs, const data::LabelledBatch& batch,
                                                const LabelSets& labels, std::uint64_t step_key);
  /// Sum of one loss over its label sets.
  torch::Tensor sum_of(const NamedLoss& named, const std::function<LossInputs(const std::string& set)>& inputs);
  /// What a rank without a row shows a loss of batch scope.
  LossInputs nothing(const Loss& loss, const std::string& set, std::uint64_t step_key);

  std::shared_ptr<models::SequenceModel> model_;
  std::vector<NamedLoss> losses_;
  const data::Dataset& dataset_;
  SoftmaxOptions softmax_;
  Context& context_;
  RowGather rows_;
  LossContext known_;
  RunFacts facts_;
  ScreenedCounts screened_;
};

/// Rows of an evaluation block.
inline constexpr std::int64_t kEvaluationRows = 256;

/// Ranks every target of `split` among all items. Collective; the same on every rank and at any number of ranks and
/// threads. `kept` (null: none) gets the targets of this process's blocks, by row; it needs `with_unseen`. Throws
/// NumericError naming the row when a score is not a number.
[[nodiscard]] Evaluation evaluate_model(models::SequenceModel& model, const data::Dataset& dataset, data::Split split,
                                        bool with_unseen, Context& context, std::vector<TargetRank>* kept = nullptr);

/// Evaluation mode for a scope, training mode as it was afterwards.
class EvaluationMode {
 public:
  explicit EvaluationMode(models::SequenceModel& model) : model_(model), before_(model.is_training()) { model.eval(); }
  ~EvaluationMode() { model_.train(before_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  models::SequenceModel& model_;
  bool before_;
};

/// Blocks of kEvaluationRows that cover a dataset.
[[nodiscard]] std::int64_t evaluation_blocks(const data::Dataset& dataset);

/// One of them; -1: without rows.
[[nodiscard]] data::PackedBatch evaluation_block(const data::Dataset& dataset, data::Split split, std::int64_t block,
                                                 std::int64_t max_length);

/// Calls visit(block) for this rank's blocks, on the context's threads. `together`: a table of what is evaluated is
/// collective; then one after the other, as often on every rank, with -1 where a rank has no block left.
void for_each_evaluation_block(const data::Dataset& dataset, bool together, Context& context,
                               const std::function<void(std::int64_t)>& visit);

/// The model on a block: the same bits on a thread among others and, with a collective table, on the calling thread.
[[nodiscard]] models::Output ask(models::SequenceModel& model, const models::Inputs& inputs,
                                 const std::set<std::string>& taps = {});

}  // namespace decant::trainer
