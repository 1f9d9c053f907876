// Two recommenders that cost one pass over the training split: what any model must beat.
#pragma once

#include "data/dataset.h"
#include "trainer/context.h"
#include "trainer/next_item.h"

namespace decant::trainer {

/// popularity: items by training count. transitions: by how often they followed the last item of the history in
/// training, then by count. Ties share ranks as everywhere.
enum class Baseline { kPopularity, kTransitions };

class BaselineRanker {
 public:
  /// One pass over the training split. REQUIRES: the dataset outlives it.
  BaselineRanker(const data::Dataset& dataset, Baseline kind);
  /// Collective; ranks of all and of unseen items. `kept` (null: none) gets this process's targets, by row.
  [[nodiscard]] Evaluation evaluate(data::Split split, Context& context, std::vector<TargetRank>* kept = nullptr) const;

 private:
  /// Followers of an item with their counts, by item.
  struct Follower {
    std::int64_t item, count;
  };
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> score(std::int64_t last, std::int64_t item) const;
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> rank(std::int64_t last, std::int64_t target,
                                                           const std::int64_t* seen, std::int64_t seen_count) const;
  const data::Dataset& dataset_;
  std::vector<std::int64_t> by_count_;  // training counts, ascending
  std::vector<std::int64_t> offsets_;   // followers of item i: [offsets_[i], offsets_[i + 1])
  std::vector<Follower> followers_;
};

}  // namespace decant::trainer
