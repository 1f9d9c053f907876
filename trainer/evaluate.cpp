// Evaluation over fixed blocks of rows: all items ranked, integer histograms summed over ranks.
#include <ATen/ops/logsumexp.h>

#include <cmath>
#include <mutex>

#include "trainer/blocks.h"
#include "trainer/errors.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

constexpr double kFixedPoint =
    1 << 24;  // KL sums travel as integers, so that their sum has one value at any rank count

std::int64_t blocks_of(const data::Dataset& dataset) {
  return (dataset.info().rows + kEvaluationRows - 1) / kEvaluationRows;
}

void add_ranks(const torch::Tensor& ranks, const data::PackedBatch& batch, RankHistogram& histogram) {
  const auto host = ranks.cpu();
  const auto* rank = host.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < host.size(0); ++i) {
    if (rank[i] < 0)
      throw NumericError("a score of row " + std::to_string(batch.sample_ids[static_cast<std::size_t>(i)]) +
                         " is not a number");
    histogram.add(rank[i]);
  }
}

/// Evaluation mode for a scope, training mode as it was afterwards.
class EvaluationMode {
 public:
  explicit EvaluationMode(models::SequenceModel& model) : model_(model), before_(model.is_training()) { model.eval(); }
  ~EvaluationMode() { model_.train(before_); }

 private:
  models::SequenceModel& model_;
  bool before_;
};

}  // namespace

void reduce_evaluation(Evaluation& evaluation, dist::Communicator& communicator) {
  std::vector<std::int64_t> flat = evaluation.all.counts();
  flat.insert(flat.end(), evaluation.unseen.counts().begin(), evaluation.unseen.counts().end());
  flat.push_back(evaluation.cold_targets);
  communicator.all_reduce_host(flat, dist::Reduce::kSum);
  const auto size = static_cast<std::ptrdiff_t>(evaluation.all.counts().size());
  evaluation.all.counts().assign(flat.begin(), flat.begin() + size);
  evaluation.unseen.counts().assign(flat.begin() + size, flat.begin() + 2 * size);
  evaluation.cold_targets = flat.back();
}

Evaluation evaluate_model(models::SequenceModel& model, const data::Dataset& dataset, data::Split split,
                          bool with_unseen, Context& context) {
  const EvaluationMode mode(model);
  const auto device = context.communicator.device();
  Evaluation sum;
  std::mutex mutex;
  const auto visit = [&](std::int64_t block) {
    const auto batch = dataset.evaluation_batch(split, block * kEvaluationRows, kEvaluationRows, model.max_length());
    if (batch.targets() == 0) return;
    const auto output = model.forward(make_inputs(batch, device, 0));
    const auto targets = torch::tensor(batch.target_ids, torch::kInt64).to(device);
    const auto ranks = model.table().rank_of(
        output.scores.hidden, targets, with_unseen ? batch.seen_offsets : std::vector<std::int64_t>{}, batch.seen_ids);
    const std::lock_guard lock(mutex);
    add_ranks(ranks.all, batch, sum.all);
    if (with_unseen) add_ranks(ranks.unseen, batch, sum.unseen);
    for (const auto id : batch.target_ids)
      if (dataset.training_counts()[static_cast<std::size_t>(id)] == 0) ++sum.cold_targets;
  };
  for_each_block(blocks_of(dataset), context.rank(), context.world(), context.threads, device, visit);
  reduce_evaluation(sum, context.communicator);
  return sum;
}

Fidelity measure_fidelity(models::SequenceModel& teacher, models::SequenceModel& student, const data::Dataset& dataset,
                          std::int64_t k, Context& context) {
  const EvaluationMode teacher_mode(teacher), student_mode(student);
  const auto device = context.communicator.device();
  constexpr std::int64_t kBest = 10;
  std::vector<std::int64_t> sums(3);  // KL in fixed point, shared items of the ten best, rows
  std::mutex mutex;
  const auto visit = [&](std::int64_t block) {
    const auto rows = [&](models::SequenceModel& model) {
      return dataset.evaluation_batch(data::Split::kValid, block * kEvaluationRows, kEvaluationRows,
                                      model.max_length());
    };
    const auto batch = rows(teacher);
    if (batch.targets() == 0) return;
    const auto of_teacher = teacher.forward(make_inputs(batch, device, 0)).scores;
    const auto of_student = student.forward(make_inputs(rows(student), device, 0)).scores;
    const auto best = teacher.table().topk(of_teacher.hidden, {std::max(k, kBest), {1.0}, {}});
    const auto walked = of_student.catalogue->walk(of_student.hidden, {{1.0}, best.ids, best.ids.size(1)});
    const auto split = [](const torch::Tensor& head, const torch::Tensor& rest) {
      const auto all = at::logsumexp(head, 1).logaddexp(rest);
      return std::pair{head - all.unsqueeze(1), rest - all};
    };
    const auto [log_q, log_q_rest] = split(best.logits, best.rest_lse.select(1, 0));
    const auto [log_p, log_p_rest] = split(walked.logits, walked.lse.select(1, 0));
    const auto tail = (log_q_rest.exp() * (log_q_rest - log_p_rest)).masked_fill(log_q_rest.isinf(), 0);
    const auto kl = ((log_q.exp() * (log_q - log_p)).sum(1) + tail).to(torch::kFloat64).mul(kFixedPoint).round();
    const auto own = student.table().topk(of_student.hidden, {kBest, {}, {}}).ids;
    const auto shared = (best.ids.narrow(1, 0, own.size(1)).unsqueeze(2) == own.unsqueeze(1)).sum();
    const std::lock_guard lock(mutex);
    sums[0] += kl.to(torch::kInt64).sum().item<std::int64_t>();
    sums[1] += shared.item<std::int64_t>();
    sums[2] += batch.targets();
  };
  for_each_block(blocks_of(dataset), context.rank(), context.world(), context.threads, device, visit);
  context.communicator.all_reduce_host(sums, dist::Reduce::kSum);
  const double rows = std::max<double>(1, static_cast<double>(sums[2]));
  const auto best = static_cast<double>(std::min<std::int64_t>(kBest, dataset.info().items));
  return {static_cast<double>(sums[0]) / kFixedPoint / rows, static_cast<double>(sums[1]) / rows / best};
}

}  // namespace decant::trainer
