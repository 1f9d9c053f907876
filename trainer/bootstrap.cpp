#include "trainer/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"

namespace decant::trainer {
namespace {

enum Site : std::uint64_t { kSeedSite = 1, kUserSite = 2 };

double mean_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// Mean of one replicate: a sum a seed over the drawn users, then the drawn seeds' mean.
double replicate(const std::vector<std::vector<float>>& differences, std::uint64_t seed, std::uint64_t number) {
  const std::size_t seeds = differences.size(), users = differences.front().size();
  const auto seed_key = base::key_of(seed, kSeedSite, number), user_key = base::key_of(seed, kUserSite, number);
  std::vector<double> times(seeds);
  for (std::size_t s = 0; s < seeds; ++s) ++times[base::below(base::draw(seed_key, s), seeds)];
  std::vector<double> sums(seeds);
  for (std::size_t u = 0; u < users; ++u) {
    const auto user = base::below(base::draw(user_key, u), users);
    for (std::size_t s = 0; s < seeds; ++s) sums[s] += static_cast<double>(differences[s][user]);
  }
  double total = 0;
  for (std::size_t s = 0; s < seeds; ++s) total += times[s] * sums[s];
  return total / static_cast<double>(seeds * users);
}

/// Linear between the order statistics.
double quantile(const std::vector<double>& sorted, double at) {
  const double place = at * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Difference bootstrap(const std::vector<std::vector<float>>& differences, const BootstrapOptions& options) {
  Difference out;
  out.seeds = static_cast<std::int64_t>(differences.size());
  out.users = static_cast<std::int64_t>(differences.front().size());
  std::vector<double> by_seed;
  for (const auto& row : differences) by_seed.push_back(mean_of(row));
  const auto seeds = static_cast<double>(by_seed.size());
  out.mean = std::accumulate(by_seed.begin(), by_seed.end(), 0.0) / seeds;
  double squares = 0;
  for (const double mean : by_seed) squares += (mean - out.mean) * (mean - out.mean);
  out.deviation = by_seed.size() > 1 ? std::sqrt(squares / (seeds - 1)) : 0;

  std::vector<double> means(static_cast<std::size_t>(options.replicates));
  const auto count = static_cast<std::int64_t>(means.size());
#pragma omp parallel for num_threads(options.threads) schedule(static)
  for (std::int64_t b = 0; b < count; ++b)
    means[static_cast<std::size_t>(b)] = replicate(differences, options.seed, static_cast<std::uint64_t>(b));
  std::sort(means.begin(), means.end());
  out.low = quantile(means, (1 - options.confidence) / 2);
  out.high = quantile(means, (1 + options.confidence) / 2);
  const auto share = [&](auto beyond) {  // of replicates, the observed one counted among them
    return (1 + static_cast<double>(std::count_if(means.begin(), means.end(), beyond))) /
           (static_cast<double>(count) + 1);
  };
  out.p = std::min(
      {1.0, 2 * share([](double mean) { return mean <= 0; }), 2 * share([](double mean) { return mean >= 0; })});
  return out;
}

}  // namespace decant::trainer
