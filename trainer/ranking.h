// Ranking metrics from an integer histogram of ranks: summed over ranks of the job they are the same everywhere.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/task.h"

namespace decant::trainer {

inline constexpr std::int64_t kCutoffs[] = {1, 5, 10, 20, 50};

/// Counts of ranks 0..49 and of all above; the last entry counts everything.
class RankHistogram {
 public:
  RankHistogram() : counts_(kBins + 2) {}
  /// `rank` 0-based. REQUIRES: rank >= 0.
  void add(std::int64_t rank);
  void add(const RankHistogram& other);
  /// Flat form for an all-reduce.
  [[nodiscard]] std::vector<std::int64_t>& counts() { return counts_; }
  [[nodiscard]] std::int64_t total() const { return counts_.back(); }
  /// recall@k, ndcg@k, mrr@k at 1, 5, 10, 20 and 50; one relevant item a target. 0 when nothing was ranked.
  [[nodiscard]] MetricMap metrics() const;

 private:
  static constexpr std::size_t kBins = 50;
  std::vector<std::int64_t> counts_;
};

/// Throws ConfigError naming the option `key` and the metrics there are.
void check_metric_name(const std::string& key, const std::string& name);

}  // namespace decant::trainer
