// Ranking metrics from an integer histogram of ranks: summed over ranks of the job they are the same everywhere.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/task.h"

namespace decant::trainer {

inline constexpr std::int64_t kCutoffs[] = {1, 5, 10, 20, 50};

/// Where one target of a split came out.
struct TargetRank {
  std::int64_t row = 0, target = 0;  // of the dataset; item
  std::int64_t all = 0, unseen = 0;  // 0-based ranks
};

/// What a rank is worth at a cutoff: ndcg 1 / log2(rank + 2), recall 1, mrr 1 / (rank + 1) when rank < k, else 0.
/// `metric` as in report.json ("ndcg@10"). Throws ConfigError naming the metrics there are.
class Gain {
 public:
  explicit Gain(const std::string& metric);
  [[nodiscard]] double operator()(std::int64_t rank) const {
    return rank < k_ ? gains_[static_cast<std::size_t>(rank)] : 0;
  }

 private:
  std::int64_t k_ = 0;
  std::vector<double> gains_;
};

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
