#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "base/errors.h"
#include "base/random.h"
#include "models/ops/keyed.h"
#include "models/ops/sequence_kernels.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

using test::random_keys;

using Keyed = test::OneThread;

constexpr double kP = 0.2;

/// 0 or 1: what is kept.
torch::Tensor mask(const torch::Tensor& keys, std::int64_t dim, std::uint32_t site, double p = kP) {
  return keyed_dropout(torch::ones({keys.size(0), dim}), keys, site, p).ne(0).to(torch::kDouble);
}

double correlation(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.flatten() - a.mean(), y = b.flatten() - b.mean();
  return ((x * y).mean() / (x.square().mean() * y.square().mean()).sqrt()).item<double>();
}

TEST_F(Keyed, TensorHashEqualsTheScalarOne) {
  torch::manual_seed(0);
  const torch::Tensor x =
      torch::cat({torch::tensor({0L, 1L, 0xffffffffL, 0x80000000L, 0x7fffffffL}), random_keys(1000)});
  const torch::Tensor y = mix32(x);
  const torch::Tensor columns = hash_columns(x, 7);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const auto value = static_cast<std::uint32_t>(x[i].item<std::int64_t>());
    ASSERT_EQ(y[i].item<std::int64_t>(), base::mix32(value));
    for (std::uint32_t c = 0; c < 7; ++c) {
      ASSERT_EQ(columns[i][c].item<std::int64_t>(), base::mix32(value + c * 0x9e3779b9u));
    }
  }
}

TEST_F(Keyed, KernelAndTensorFormsHaveEqualBits) {
  torch::manual_seed(1);
  for (const std::int64_t dim : {1, 3, 16, 64, 67, 300}) {
    for (const double p : {0.01, 0.2, 0.5, 0.99}) {
      const torch::Tensor x = torch::randn({50, dim}), keys = random_keys(50);
      EXPECT_TRUE(torch::equal(keyed_dropout(x, keys, 3, p), keyed_dropout_by_tensors(x, keys, 3, p)))
          << dim << " " << p;
    }
  }
}

TEST_F(Keyed, EveryIsaHasEqualBits) {
  torch::manual_seed(2);
  const torch::Tensor x = torch::randn({40, 67}), keys = random_keys(40), wanted = keyed_dropout(x, keys, 3, kP);
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > best_isa()) continue;
    torch::Tensor out = torch::empty_like(x);
    sequence_kernels(isa).dropout(
        {x.data_ptr<float>(), out.data_ptr<float>(), keys.data_ptr<std::int64_t>(), 67, keyed_drop(3, kP)}, 0, 40);
    EXPECT_TRUE(torch::equal(out, wanted)) << isa_name(isa);
  }
}

TEST_F(Keyed, BackwardDropsTheSameElements) {
  torch::manual_seed(3);
  const torch::Tensor x = torch::randn({30, 20}).requires_grad_(), keys = random_keys(30), g = torch::randn({30, 20});
  const torch::Tensor y = keyed_dropout(x, keys, 9, 0.4);
  const torch::Tensor grad = torch::autograd::grad({y}, {x}, {g})[0];
  EXPECT_TRUE(torch::equal(grad, keyed_dropout(g, keys, 9, 0.4)));
  EXPECT_TRUE(torch::equal(y.ne(0), grad.ne(0)));
  const torch::Tensor transposed = torch::randn({20, 30}).t();  // a gradient need not be contiguous
  const torch::Tensor z = keyed_dropout(x, keys, 9, 0.4);
  EXPECT_TRUE(torch::equal(torch::autograd::grad({z}, {x}, {transposed})[0],
                           keyed_dropout(transposed.contiguous(), keys, 9, 0.4)));
}

TEST_F(Keyed, NothingToDoReturnsTheInput) {
  const torch::Tensor x = torch::randn({4, 4});
  EXPECT_TRUE(keyed_dropout(x, random_keys(4), 1, 0).is_same(x));
  EXPECT_TRUE(keyed_dropout(x, {}, 1, kP).is_same(x));
  EXPECT_EQ(keyed_dropout(torch::empty({0, 4}), random_keys(0), 1, kP).size(0), 0);
  EXPECT_THROW((void)keyed_dropout(x, random_keys(4), 1, 1.0), base::ConfigError);
  EXPECT_THROW((void)keyed_dropout(x, random_keys(4), 1, -0.1), base::ConfigError);
  EXPECT_THROW((void)keyed_dropout(x, random_keys(5), 1, kP), std::invalid_argument);
}

TEST_F(Keyed, RateAndMean) {
  torch::manual_seed(4);
  constexpr std::int64_t kTokens = 4000, kDim = 64;
  const torch::Tensor keys = random_keys(kTokens);
  for (const double p : {0.05, 0.2, 0.5, 0.9}) {
    const torch::Tensor kept = mask(keys, kDim, 7, p);
    const double sigma = std::sqrt(p * (1 - p));
    EXPECT_NEAR(kept.mean().item<double>(), 1 - p, 5 * sigma / std::sqrt(kTokens * kDim));
    // Every channel and every token by itself, at five and a half sigma.
    EXPECT_LT((kept.mean(0) - (1 - p)).abs().max().item<double>(), 5.5 * sigma / std::sqrt(kTokens));
    EXPECT_LT((kept.mean(1) - (1 - p)).abs().max().item<double>(), 5.5 * sigma / std::sqrt(kDim) + 1.0 / kDim);
    const torch::Tensor ones = keyed_dropout(torch::ones({kTokens, kDim}), keys, 7, p);
    EXPECT_NEAR(ones.mean().item<double>(), 1, 5 * sigma / (1 - p) / std::sqrt(kTokens * kDim));
  }
}

TEST_F(Keyed, NoCorrelationBetweenChannelsTokensSites) {
  constexpr std::int64_t kTokens = 4096, kDim = 64;
  // The keys of consecutive positions, as a task makes them, and plain counters, which are the hardest case.
  for (const bool counters : {false, true}) {
    torch::Tensor keys = torch::arange(kTokens);
    if (!counters) {
      for (std::int64_t t = 0; t < kTokens; ++t) {
        keys[t] = static_cast<std::int64_t>(
            base::key_of(42, 7, static_cast<std::uint64_t>(t / 16), static_cast<std::uint64_t>(t % 16)) >> 32);
      }
    }
    const torch::Tensor kept = mask(keys, kDim, 1);
    const double limit = 5 / std::sqrt(static_cast<double>(kTokens) * (kDim - 8));
    for (const std::int64_t lag : {1, 2, 3, 8}) {
      EXPECT_LT(std::abs(correlation(kept.narrow(1, 0, kDim - lag), kept.narrow(1, lag, kDim - lag))), limit);
      EXPECT_LT(std::abs(correlation(kept.narrow(0, 0, kTokens - lag), kept.narrow(0, lag, kTokens - lag))), limit);
    }
    for (std::uint32_t site = 2; site < 12; ++site) {
      EXPECT_LT(std::abs(correlation(kept, mask(keys, kDim, site))), limit) << site;
    }
    // Any two channels over tokens.
    const torch::Tensor centred = kept - kept.mean(0);
    torch::Tensor all = centred.t().matmul(centred) / (kTokens * kP * (1 - kP));
    all.fill_diagonal_(0);
    EXPECT_LT(all.abs().max().item<double>(), 5.5 / std::sqrt(static_cast<double>(kTokens)));
  }
}

TEST_F(Keyed, ASampleHasItsMaskInAnyBatchAndAtAnyThreadCount) {
  torch::manual_seed(5);
  const torch::Tensor x = torch::randn({3000, 64}), keys = random_keys(3000);
  const torch::Tensor one = keyed_dropout(x, keys, 2, kP);
  at::set_num_threads(4);
  EXPECT_TRUE(torch::equal(one, keyed_dropout(x, keys, 2, kP)));
  at::set_num_threads(1);
  const torch::Tensor order = torch::randperm(3000);
  EXPECT_TRUE(torch::equal(keyed_dropout(x.index_select(0, order), keys.index_select(0, order), 2, kP),
                           one.index_select(0, order)));
}

}  // namespace
}  // namespace decant::models
