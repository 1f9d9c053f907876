// The task "next item": packed histories to catalogue scores.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "models/model.h"
#include "trainer/context.h"
#include "trainer/job.h"
#include "trainer/ranking.h"
#include "trainer/task.h"

namespace decant::trainer {

/// Tensors of a packed batch on `device`. `step_key` 0: evaluation, no dropout keys.
[[nodiscard]] models::Inputs make_inputs(const data::PackedBatch& batch, torch::Device device, std::uint64_t step_key);

/// One walk over the catalogue serves all losses: the union of their needs. Public for tests.
[[nodiscard]] LossInputs score_for_losses(const models::CatalogueScores& scores, const data::LabelledBatch& batch,
                                          const std::vector<NamedLoss>& losses, bool sampled);

/// Histograms of one split over this rank's blocks, all-reduced.
struct Evaluation {
  RankHistogram all, unseen;
  std::int64_t cold_targets = 0;  // targets never seen in training: ranked and counted
};

/// Sums over ranks, in place.
void reduce_evaluation(Evaluation& evaluation, dist::Communicator& communicator);

class NextItem : public Task {
 public:
  NextItem(std::shared_ptr<models::SequenceModel> model, std::vector<NamedLoss> losses, const data::Dataset& dataset,
           const SoftmaxOptions& softmax, Context& context);
  models::NamedTensors parameters() override;
  models::NamedTensors weights() override;
  void train(bool on) override;
  std::vector<torch::Tensor> loss_sums(const data::LabelledBatch& batch, std::uint64_t step_key) override;
  const std::vector<NamedLoss>& losses() const override { return losses_; }
  MetricMap validate() override;

 private:
  std::shared_ptr<models::SequenceModel> model_;
  std::vector<NamedLoss> losses_;
  const data::Dataset& dataset_;
  SoftmaxOptions softmax_;
  Context& context_;
};

/// Rows of an evaluation block.
inline constexpr std::int64_t kEvaluationRows = 256;

/// Ranks every target of `split` among all items. Collective; the same on every rank and at any number of ranks and
/// threads. Throws NumericError naming the row when a score is not a number.
[[nodiscard]] Evaluation evaluate_model(models::SequenceModel& model, const data::Dataset& dataset, data::Split split,
                                        bool with_unseen, Context& context);

/// How well the student repeats the teacher on valid: KL(teacher || student) at T = 1 over the teacher's k best and one
/// bucket for the rest (mean), and the share of the teacher's 10 best among the student's 10 best. Collective.
struct Fidelity {
  double kl = 0, overlap_at_10 = 0;
};
[[nodiscard]] Fidelity measure_fidelity(models::SequenceModel& teacher, models::SequenceModel& student,
                                        const data::Dataset& dataset, std::int64_t k, Context& context);

}  // namespace decant::trainer
