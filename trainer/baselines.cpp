#include "trainer/baselines.h"

#include <algorithm>

#include "trainer/blocks.h"

namespace decant::trainer {

BaselineRanker::BaselineRanker(const data::Dataset& dataset, Baseline kind)
    : dataset_(dataset), by_count_(dataset.training_counts()) {
  std::sort(by_count_.begin(), by_count_.end());
  const std::int64_t items = dataset.info().items;
  offsets_.assign(static_cast<std::size_t>(items) + 1, 0);
  if (kind == Baseline::kPopularity) return;
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs;
  for (std::int64_t row = 0; row < dataset.info().rows; ++row) {
    const auto events = dataset.training_events(row);
    for (std::size_t i = 1; i < events.size(); ++i) pairs.emplace_back(events[i - 1], events[i]);
  }
  std::sort(pairs.begin(), pairs.end());
  for (std::size_t i = 0; i < pairs.size();) {
    std::size_t end = i;
    while (end < pairs.size() && pairs[end] == pairs[i]) ++end;
    followers_.push_back({pairs[i].second, static_cast<std::int64_t>(end - i)});
    ++offsets_[static_cast<std::size_t>(pairs[i].first) + 1];
    i = end;
  }
  for (std::size_t i = 1; i < offsets_.size(); ++i) offsets_[i] += offsets_[i - 1];
}

std::pair<std::int64_t, std::int64_t> BaselineRanker::score(std::int64_t last, std::int64_t item) const {
  const auto begin = followers_.begin() + offsets_[static_cast<std::size_t>(last)];
  const auto end = followers_.begin() + offsets_[static_cast<std::size_t>(last) + 1];
  const auto at = std::lower_bound(begin, end, item, [](const Follower& f, std::int64_t id) { return f.item < id; });
  const std::int64_t follows = at != end && at->item == item ? at->count : 0;
  return {follows, dataset_.training_counts()[static_cast<std::size_t>(item)]};
}

/// Ranks among all items and without the seen ones.
std::pair<std::int64_t, std::int64_t> BaselineRanker::rank(std::int64_t last, std::int64_t target,
                                                           const std::int64_t* seen, std::int64_t seen_count) const {
  const auto own = score(last, target);
  std::int64_t greater = 0, equal = 0;
  const auto count = [&](const std::pair<std::int64_t, std::int64_t>& other, std::int64_t times) {
    greater += other > own ? times : 0;
    equal += other == own ? times : 0;
  };
  // Everything as if nothing followed the last item, then the few followers corrected.
  const auto above = [&](std::int64_t popularity) {
    return by_count_.end() - std::upper_bound(by_count_.begin(), by_count_.end(), popularity);
  };
  if (own.first == 0) {
    greater = above(own.second);
    equal = above(own.second - 1) - greater;
  }
  for (auto f = offsets_[static_cast<std::size_t>(last)]; f < offsets_[static_cast<std::size_t>(last) + 1]; ++f) {
    const auto& follower = followers_[static_cast<std::size_t>(f)];
    const auto full = score(last, follower.item);
    if (own.first == 0) count({0, full.second}, -1);
    count(full, 1);
  }
  const auto rank_of = [](std::int64_t g, std::int64_t e) { return g + (e - 1) / 2; };  // e counts the target itself
  const std::int64_t all = rank_of(greater, equal);
  for (std::int64_t i = 0; i < seen_count; ++i)
    if (seen[i] != target) count(score(last, seen[i]), -1);
  return {all, rank_of(greater, equal)};
}

Evaluation BaselineRanker::evaluate(data::Split split, Context& context, std::vector<TargetRank>* kept) const {
  Evaluation sum;
  const std::int64_t blocks = evaluation_blocks(dataset_);
  for (std::int64_t block = context.rank(); block < blocks; block += context.world()) {
    const auto batch = dataset_.evaluation_batch(split, block * kEvaluationRows, kEvaluationRows, 1);
    const auto& items = batch.column("items").values;
    for (std::size_t i = 0; i < batch.target_ids.size(); ++i) {
      const std::int64_t last = items[static_cast<std::size_t>(batch.target_tokens[i])];
      const auto [all, unseen] = rank(last, batch.target_ids[i], batch.seen_ids.data() + batch.seen_offsets[i],
                                      batch.seen_offsets[i + 1] - batch.seen_offsets[i]);
      sum.all.add(all);
      sum.unseen.add(unseen);
      if (kept != nullptr) kept->push_back({batch.sample_ids[i], batch.target_ids[i], all, unseen});
      if (dataset_.training_counts()[static_cast<std::size_t>(batch.target_ids[i])] == 0) ++sum.cold_targets;
    }
  }
  reduce_evaluation(sum, context.communicator);
  return sum;
}

}  // namespace decant::trainer
