#include "trainer/ranking.h"

#include <algorithm>
#include <cmath>

#include "base/options.h"

namespace decant::trainer {

Gain::Gain(const std::string& metric) {
  check_metric_name("metric", metric);
  k_ = std::stoll(metric.substr(metric.find('@') + 1));
  for (std::int64_t rank = 0; rank < k_; ++rank) {
    const auto place = static_cast<double>(rank);
    gains_.push_back(metric.starts_with("ndcg")  ? 1 / std::log2(place + 2)
                     : metric.starts_with("mrr") ? 1 / (place + 1)
                                                 : 1);
  }
}

void RankHistogram::add(std::int64_t rank) {
  ++counts_[std::min<std::size_t>(static_cast<std::size_t>(rank), kBins)];
  ++counts_.back();
}

void RankHistogram::add(const RankHistogram& other) {
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

MetricMap RankHistogram::metrics() const {
  MetricMap out;
  const double all = std::max<double>(1, static_cast<double>(total()));
  for (const std::int64_t k : kCutoffs) {
    std::int64_t hits = 0;
    double gain = 0, reciprocal = 0;
    for (std::int64_t r = 0; r < k; ++r) {
      const auto count = static_cast<double>(counts_[static_cast<std::size_t>(r)]);
      hits += counts_[static_cast<std::size_t>(r)];
      gain += count / std::log2(static_cast<double>(r) + 2);
      reciprocal += count / static_cast<double>(r + 1);
    }
    const std::string at = "@" + std::to_string(k);
    out["recall" + at] = static_cast<double>(hits) / all;
    out["ndcg" + at] = gain / all;
    out["mrr" + at] = reciprocal / all;
  }
  return out;
}

void check_metric_name(const std::string& key, const std::string& name) {
  std::vector<std::string> known;
  for (const auto& [metric, value] : RankHistogram().metrics()) known.push_back(metric);
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  const std::string near = base::nearest(name, known);
  throw base::ConfigError("'" + key + "': '" + name + "' is no metric" +
                          (near.empty() ? "" : "; did you mean '" + near + "'?") + " (known: " + base::join(known) +
                          ")");
}

}  // namespace decant::trainer
