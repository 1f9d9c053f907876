// A table that is sharded over ranks beside the same one on every rank: values, gradients, lists and ranks.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <algorithm>

#include "base/errors.h"
#include "models/sharded_table.h"
#include "tests/multirank/world.h"
#include "trainer/table_exchange.h"

namespace decant::multirank {
namespace {

using models::LocalTable;
using models::ShardedTable;
using torch::Tensor;

constexpr std::int64_t kItems = 203, kDim = 24;
constexpr double kClose = 2e-6;  // of sums over the catalogue in float32

at::Generator generator(int salt) { return at::detail::createCPUGenerator(1000 + 10 * salt + world().rank()); }

/// Rows of this rank: none on the second one, of ragged numbers on the others.
std::int64_t own_rows() { return std::vector<std::int64_t>{37, 0, 5, 600}[static_cast<std::size_t>(world().rank())]; }

Tensor random_rows(int salt) { return torch::randn({own_rows(), kDim}, generator(salt), torch::kFloat32) * 3; }

Tensor summed(const Tensor& tensor) {
  auto out = tensor.detach().clone();
  world().all_reduce(out, dist::Reduce::kSum)->wait();
  return out;
}

double gap(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return a.numel() == 0 ? 0 : (a - b).abs().max().item<double>();
}

class Sharded : public testing::Test {
 protected:
  Sharded() {
    const torch::NoGradGuard no_grad;
    // Far apart, and rows that are equal: ties in lists and ranks.
    local.weight.mul_(20);
    for (std::int64_t i = 40; i < 60; ++i) local.weight[i].copy_(local.weight[i + 100]);
    models::keep_rows(local.weight, 0, sharded.deal(), sharded.weight);
  }
  /// This rank's rows of a gradient of the whole table, which is summed over ranks first.
  [[nodiscard]] Tensor own_part(const Tensor& whole) const {
    auto own = torch::zeros_like(sharded.weight);
    models::keep_rows(summed(whole), 0, sharded.deal(), own);
    return own;
  }
  std::shared_ptr<trainer::TableExchange> exchange = std::make_shared<trainer::TableExchange>(world());
  LocalTable local{kItems, kDim, 5};
  ShardedTable sharded{kItems, kDim, 5, exchange};
};

TEST_F(Sharded, FirstValuesAreThoseOfALocalTable) {
  for (const auto& [items, dim] : {std::pair(7, 5), {16, 1}, {16387, 1}, {16384, 2}, {40000, 3}}) {
    const LocalTable whole(items, dim, 9);
    const ShardedTable mine(items, dim, 9, exchange);
    auto own = torch::zeros_like(mine.weight);
    models::keep_rows(whole.weight, 0, mine.deal(), own);
    EXPECT_TRUE(torch::equal(mine.weight, own)) << items << " x " << dim;
    EXPECT_EQ(mine.values(), items * dim);
  }
  if (world().size() == 1) return;
  EXPECT_THROW(ShardedTable(world().size() - 1, 4, 1, exchange), base::ConfigError);
}

TEST_F(Sharded, IsGivenAndTakenWhole) {
  const auto logical = sharded.whole("w", sharded.weight);
  EXPECT_EQ(logical.shape, (std::vector<std::int64_t>{kItems, kDim}));
  std::vector<Tensor> shown;
  logical.give([&](const Tensor& rows) { shown.push_back(rows); });
  EXPECT_EQ(shown.empty(), world().rank() != 0) << "rank 0 alone is shown";
  EXPECT_TRUE(shown.empty() || torch::equal(torch::cat(shown), local.weight));
  const torch::NoGradGuard no_grad;
  const auto before = sharded.weight.clone();
  sharded.weight.zero_();
  for (std::int64_t first = 0; first < kItems; first += 10)
    logical.take(first, local.weight.narrow(0, first, std::min<std::int64_t>(10, kItems - first)));
  EXPECT_TRUE(torch::equal(sharded.weight, before));
  // More than one run, of narrow rows.
  const ShardedTable long_one(700'001, 3, 1, exchange);
  const auto flat = torch::arange(long_one.deal().own()) * world().size() + world().rank();
  std::int64_t next = 0, runs = 0;
  long_one.whole("ids", flat).give([&](const Tensor& rows) {
    EXPECT_TRUE(torch::equal(rows, torch::arange(next, next + rows.size(0))));
    next += rows.size(0), ++runs;
  });
  EXPECT_EQ(next, world().rank() == 0 ? 700'001 : 0);
}

TEST_F(Sharded, LookupAndItsGradient) {
  const auto ids = torch::randint(0, kItems, {own_rows() * 3}, generator(1), torch::kInt64);
  const auto factors = torch::randn({ids.size(0), kDim}, generator(2), torch::kFloat32);
  const auto rows = sharded.lookup(ids);
  EXPECT_TRUE(torch::equal(rows, local.lookup(ids)));
  ((rows * factors).sum() + sharded.take_tie()).backward();
  (local.lookup(ids) * factors).sum().backward();
  EXPECT_LT(gap(sharded.weight.grad(), own_part(local.weight.grad())), kClose);
}

/// Ids of which the first three columns are distinct and left out; -1 among all of them.
Tensor wanted_ids(int salt) {
  const auto order = torch::rand({own_rows(), kItems}, generator(salt)).argsort(/*stable=*/false, 1).narrow(1, 0, 3);
  const auto others = torch::randint(-1, kItems, {own_rows(), 4}, generator(salt + 1), torch::kInt64);
  return torch::cat({order.masked_fill(torch::rand(order.sizes(), generator(salt + 2)) < 0.2, -1), others}, 1);
}

TEST_F(Sharded, WalkAndItsGradients) {
  const models::WalkRequest request{{1, 2, 10}, wanted_ids(3), 3};
  auto mine = random_rows(6).requires_grad_(), alone = mine.detach().clone().requires_grad_();
  const auto loss = [&](const models::WalkResult& walked) {
    return (walked.lse * torch::tensor({1.0f, -0.5f, 2.0f})).sum() + (walked.logits * 0.1).sum();
  };
  const auto walked = sharded.walk(mine, request), plain = local.walk(alone, request);
  EXPECT_LT(gap(walked.lse, plain.lse), 1e-5);
  EXPECT_LT(gap(walked.logits, plain.logits), 1e-4);  // products of other shapes
  (loss(walked) + sharded.take_tie()).backward();
  loss(plain).backward();
  EXPECT_LT(gap(mine.grad(), alone.grad()), 1e-4);
  EXPECT_LT(gap(sharded.weight.grad(), own_part(local.weight.grad())), 5e-4);
}

TEST_F(Sharded, EverybodyMeetsInBackwardWhereOneRankUsesNothing) {
  const models::WalkRequest request{{1}, wanted_ids(3), 3};
  const auto ids = torch::randint(0, kItems, {own_rows()}, generator(1), torch::kInt64);
  const auto hidden = sharded.lookup(ids);
  const auto walked = sharded.walk(hidden, request);
  const auto spread = sharded.spread();
  const bool uses = world().rank() == 0;
  auto total = sharded.take_tie();
  if (uses) total = total + walked.lse.sum() + spread.mean.sum();
  total.backward();
  const auto plain_hidden = local.lookup(ids);
  if (uses)
    (local.walk(plain_hidden, request).lse.sum() + local.spread().mean.sum()).backward();
  else
    local.weight.mutable_grad() = torch::zeros_like(local.weight);
  EXPECT_LT(gap(sharded.weight.grad(), own_part(local.weight.grad())), 1e-4);
  EXPECT_FALSE(sharded.take_tie().defined()) << "it was taken";
}

TEST_F(Sharded, SpreadAndItsGradient) {
  auto mine = random_rows(7).requires_grad_(), alone = mine.detach().clone().requires_grad_();
  const auto a = sharded.moments(mine), b = local.moments(alone);
  EXPECT_LT(gap(a.mean, b.mean), 1e-4);
  EXPECT_LT(gap(a.variance, b.variance), 1e-3);
  ((a.mean * 2 + a.variance * 0.01).sum() + sharded.take_tie()).backward();
  (b.mean * 2 + b.variance * 0.01).sum().backward();
  EXPECT_LT(gap(mine.grad(), alone.grad()), 1e-4);
  EXPECT_LT(gap(sharded.weight.grad(), own_part(local.weight.grad())), 1e-3);
}

TEST_F(Sharded, ListsAreTheSame) {
  const auto hidden = random_rows(8);
  const auto targets = torch::randint(0, kItems, {own_rows()}, generator(9), torch::kInt64);
  const torch::NoGradGuard no_grad;
  for (const std::int64_t k : {1, 20, 150, 203, 1000})  // also more than a rank's rows, and all
    for (const bool ranked : {true, false}) {
      const models::TopKRequest request{k, {1, 4}, ranked ? targets : Tensor()};
      const auto a = sharded.topk(hidden, request), b = local.topk(hidden, request);
      EXPECT_TRUE(torch::equal(a.ids, b.ids)) << k;
      EXPECT_TRUE(torch::equal(a.logits, b.logits)) << k;
      EXPECT_EQ(a.rest_lse.sizes(), b.rest_lse.sizes());
      EXPECT_TRUE(torch::allclose(a.rest_lse, b.rest_lse, 1e-6, 1e-6)) << k;
      EXPECT_EQ(a.target_rank.defined(), ranked);
      if (!ranked) continue;
      EXPECT_TRUE(torch::equal(a.target_logit, b.target_logit)) << k;
      EXPECT_TRUE(torch::equal(a.target_rank, b.target_rank)) << k;
    }
}

TEST_F(Sharded, RanksAreTheSameAtAnyNumberOfThreads) {
  const auto hidden = random_rows(8);
  const auto targets = torch::randint(0, kItems, {own_rows()}, generator(9), torch::kInt64);
  std::vector<std::int64_t> offsets{0}, seen;
  for (std::int64_t row = 0; row < own_rows(); ++row) {
    for (std::int64_t i = 0; i < row % 7 + world().rank(); ++i) {
      const auto id = (row * 31 + i * 11) % kItems;
      if (id != targets[row].item<std::int64_t>()) seen.push_back(id);
    }
    std::sort(seen.begin() + offsets.back(), seen.end());
    offsets.push_back(static_cast<std::int64_t>(seen.size()));
  }
  const torch::NoGradGuard no_grad;
  const auto plain = local.rank_of(hidden, targets, offsets, seen);
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const auto found = sharded.rank_of(hidden, targets, offsets, seen);
    at::set_num_threads(1);
    EXPECT_TRUE(torch::equal(found.all, plain.all)) << threads;
    EXPECT_TRUE(torch::equal(found.unseen, plain.unseen)) << threads;
  }
  EXPECT_FALSE(sharded.rank_of(hidden, targets, {}, {}).unseen.defined());
  auto broken = hidden.clone();
  if (own_rows() > 0) broken[0][0] = NAN;
  const auto ranks = sharded.rank_of(broken, targets, {}, {}).all;
  EXPECT_EQ((ranks < 0).sum().item<std::int64_t>(), own_rows() > 0 ? 1 : 0) << "no number has no rank";
}

TEST_F(Sharded, AskingDifferentThingsIsAnErrorOnEveryRank) {
  if (world().size() == 1) return;
  const std::int64_t k = world().rank() == 0 ? 3 : 4;
  EXPECT_THROW(static_cast<void>(sharded.topk(random_rows(8), {k, {}, {}})), std::invalid_argument);
}

}  // namespace
}  // namespace decant::multirank
