// Evaluation over fixed blocks of rows: all items ranked, integer histograms summed over ranks.
#include <ATen/Parallel.h>

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

data::PackedBatch evaluation_block(const data::Dataset& dataset, data::Split split, std::int64_t block,
                                   std::int64_t max_length) {
  if (block < 0) return dataset.evaluation_batch(split, 0, 0, max_length);
  return dataset.evaluation_batch(split, block * kEvaluationRows, kEvaluationRows, max_length);
}

void for_each_evaluation_block(const data::Dataset& dataset, bool together, Context& context,
                               const std::function<void(std::int64_t)>& visit) {
  const std::int64_t blocks = evaluation_blocks(dataset), rank = context.rank(), world = context.world();
  if (!together)
    return for_each_block(blocks, context.rank(), context.world(), context.threads, context.communicator.device(),
                          visit);
  const std::int64_t mine = blocks > rank ? (blocks - rank + world - 1) / world : 0;
  take_turns(mine, context.communicator, [&](std::int64_t turn) { visit(turn < 0 ? -1 : rank + turn * world); });
}

models::Output ask(models::SequenceModel& model, const models::Inputs& inputs, const std::set<std::string>& taps) {
  const OneThread one(inputs.positions.is_cpu() && !at::in_parallel_region());
  return model.forward(inputs, taps);
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
  const bool together = model.table().collective();
  Evaluation sum;
  std::mutex mutex;
  const auto visit = [&](std::int64_t block) {
    const auto batch = evaluation_block(dataset, split, block, model.max_length());
    if (batch.targets() == 0 && !together) return;
    const auto output = ask(model, make_inputs(batch, device, 0));
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
  for_each_evaluation_block(dataset, together, context, visit);
  if (kept != nullptr)
    std::sort(kept->begin(), kept->end(), [](const TargetRank& a, const TargetRank& b) { return a.row < b.row; });
  reduce_evaluation(sum, context.communicator);
  return sum;
}

}  // namespace decant::trainer
