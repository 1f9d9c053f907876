// Is one side better than another, beyond the chance of seeds and users? A bootstrap over both.
#pragma once

#include <cstdint>
#include <vector>

namespace decant::trainer {

struct BootstrapOptions {
  std::int64_t replicates = 2000;
  double confidence = 0.95;
  std::uint64_t seed = 1;  // of the draws
  int threads = 1;
};

struct Difference {
  double mean = 0;           // over seeds and users
  double low = 0, high = 0;  // percentile interval at `confidence`
  double p = 1;              // two-sided, for a difference of 0; never below 2 / (replicates + 1)
  double deviation = 0;      // of the mean difference over seeds (n - 1); 0 with one seed
  std::int64_t seeds = 0, users = 0;
};

/// `differences[s][u]`: what a user gains under seed s. A replicate draws as many seeds with replacement, then as many
/// users, the same for all its seeds, since each user is ranked under every seed (Owen 2007, "The pigeonhole
/// bootstrap"; within one seed it is the bootstrap of Efron 1979). Draws are functions of (seed, replicate, index).
/// REQUIRES: at least one seed and user, all rows of one length.
[[nodiscard]] Difference bootstrap(const std::vector<std::vector<float>>& differences, const BootstrapOptions& options);

}  // namespace decant::trainer
