// Evaluation over fixed blocks of rows: all items ranked, integer histograms summed over ranks.
#include <algorithm>
#include <mutex>

#include "trainer/blocks.h"
#include "trainer/errors.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

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

void keep_targets(const data::PackedBatch& batch, const models::RankResult& ranks, std::vector<TargetRank>& kept) {
  const auto all = ranks.all.cpu(), unseen = ranks.unseen.cpu();
  for (std::size_t i = 0; i < batch.target_ids.size(); ++i)
    kept.push_back({batch.sample_ids[i], batch.target_ids[i], all.data_ptr<std::int64_t>()[i],
                    unseen.data_ptr<std::int64_t>()[i]});
}

}  // namespace

std::int64_t evaluation_blocks(const data::Dataset& dataset) {
  return (dataset.info().rows + kEvaluationRows - 1) / kEvaluationRows;
}

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
                          bool with_unseen, Context& context, std::vector<TargetRank>* kept) {
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
    if (kept != nullptr) keep_targets(batch, ranks, *kept);
    for (const auto id : batch.target_ids)
      if (dataset.training_counts()[static_cast<std::size_t>(id)] == 0) ++sum.cold_targets;
  };
  for_each_block(evaluation_blocks(dataset), context.rank(), context.world(), context.threads, device, visit);
  if (kept != nullptr)
    std::sort(kept->begin(), kept->end(), [](const TargetRank& a, const TargetRank& b) { return a.row < b.row; });
  reduce_evaluation(sum, context.communicator);
  return sum;
}

}  // namespace decant::trainer
