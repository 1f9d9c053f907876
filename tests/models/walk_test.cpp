// The catalogue walk against the plain formula over dense logits, on both backends, chunked and not.
#include "models/ops/walk.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/topk.h>
#include <gtest/gtest.h>

#include <limits>

#include "models/table.h"

namespace decant::models {
namespace {

using torch::Tensor;

struct Setting {
  WalkOptions options;
  const char* name;
};

std::vector<Setting> settings() {
  return {{{0, 0, nullptr}, "sizes by default"},
          {{7, 5, nullptr}, "tiles of 7 items, chunks of 5 rows"},
          {{64, 3, &aten_tile_backend()}, "ATen, tiles of 64"},
          {{13, 100, &aten_tile_backend()}, "ATen, tiles of 13"}};
}

struct Problem {
  Tensor hidden, weight, ids;
  std::int64_t excluded;
};

Problem make_problem(std::int64_t rows, std::int64_t items, std::int64_t excluded, std::int64_t more) {
  torch::manual_seed(rows * 1000 + items);
  Problem p{at::randn({rows, 6}) * 2, at::randn({items, 6}), Tensor(), excluded};
  std::vector<Tensor> ids;
  for (std::int64_t r = 0; r < rows; ++r)
    ids.push_back(
        at::cat({torch::randperm(items).narrow(0, 0, excluded), torch::randint(items, {more}, torch::kInt64)}));
  p.ids = rows > 0 ? at::stack(ids).to(torch::kInt64) : torch::zeros({0, excluded + more}, torch::kInt64);
  return p;
}

/// The same by dense logits.
WalkResult dense(const Problem& p, const std::vector<double>& temperatures) {
  auto logits = p.hidden.matmul(p.weight.t());
  const auto taken = logits.gather(1, p.ids.clamp_min(0)) * (p.ids >= 0);
  auto mask = torch::zeros_like(logits, torch::kBool);
  for (std::int64_t r = 0; r < p.ids.size(0); ++r)
    for (std::int64_t s = 0; s < p.excluded; ++s)
      if (const auto id = p.ids[r][s].item<std::int64_t>(); id >= 0) mask[r][id] = true;
  std::vector<Tensor> lse;
  for (const double t : temperatures)
    lse.push_back(at::logsumexp((logits / t).masked_fill(mask, -std::numeric_limits<float>::infinity()), 1));
  return {lse.empty() ? torch::zeros({p.hidden.size(0), 0}) : at::stack(lse, 1), taken};
}

void expect_close(const Tensor& a, const Tensor& b, const std::string& what, double tolerance = 2e-5) {
  ASSERT_EQ(a.sizes(), b.sizes()) << what;
  EXPECT_TRUE(at::allclose(a, b, tolerance, tolerance)) << what << "\n" << a << "\n" << b;
}

void compare(Problem p, const std::vector<double>& temperatures, const Setting& setting) {
  const auto run = [&](bool walked) {
    auto q = p;
    q.hidden = p.hidden.detach().clone().requires_grad_();
    q.weight = p.weight.detach().clone().requires_grad_();
    const auto out = walked ? walk_catalogue(q.hidden, q.weight, {temperatures, q.ids, q.excluded}, setting.options)
                            : dense(q, temperatures);
    torch::manual_seed(7);
    auto total = (out.logits * at::randn(out.logits.sizes())).sum();
    if (!temperatures.empty()) total = total + (out.lse * at::randn(out.lse.sizes())).sum();
    total.backward();
    return std::vector<Tensor>{out.lse, out.logits, q.hidden.grad(), q.weight.grad()};
  };
  const auto ours = run(true), plain = run(false);
  const char* names[] = {"lse", "logits", "gradient of hidden", "gradient of table"};
  for (std::size_t i = 0; i < 4; ++i) expect_close(ours[i], plain[i], std::string(setting.name) + ": " + names[i]);
}

TEST(Walk, EqualsTheDenseFormula) {
  for (const auto& setting : settings())
    for (const std::int64_t rows : {1, 4, 23})
      for (const std::int64_t items : {1, 5, 129})
        for (const auto& temperatures : {std::vector<double>{1}, {1, 2}, {3}, {1, 1.5, 2, 3, 4, 6, 10}, {0.5, 7}}) {
          const std::int64_t excluded = std::min<std::int64_t>(items - 1, 4);
          compare(make_problem(rows, items, excluded, 2), temperatures, setting);
        }
}

TEST(Walk, LeavesOutAbsentIds) {
  for (const auto& setting : settings()) {
    auto p = make_problem(6, 40, 3, 2);
    p.ids[0][1] = -1;
    p.ids[2].fill_(-1);
    compare(p, {1, 2}, setting);
  }
}

TEST(Walk, EmptyComplementIsMinusInfinityWithFiniteGradients) {
  for (const auto& setting : settings()) {
    auto p = make_problem(3, 9, 9, 1);
    const auto hidden = p.hidden.clone().requires_grad_(), weight = p.weight.clone().requires_grad_();
    const auto out = walk_catalogue(hidden, weight, {{1, 2}, p.ids, 9}, setting.options);
    EXPECT_TRUE((out.lse == -std::numeric_limits<float>::infinity()).all().item<bool>()) << setting.name;
    const auto full = at::logsumexp(out.logits.narrow(1, 0, 9), 1).logaddexp(out.lse.select(1, 0));
    full.sum().backward();
    EXPECT_TRUE(weight.grad().isfinite().all().item<bool>()) << setting.name;
    EXPECT_TRUE(hidden.grad().isfinite().all().item<bool>()) << setting.name;
  }
}

TEST(Walk, LargeLogitsAndNoRows) {
  for (const auto& setting : settings()) {
    auto p = make_problem(5, 60, 2, 1);
    p.hidden.mul_(20);
    compare(p, {1, 2}, setting);
    auto none = make_problem(0, 60, 2, 1);
    const auto hidden = none.hidden.requires_grad_(), weight = none.weight.requires_grad_();
    auto out = walk_catalogue(hidden, weight, {{1}, none.ids, 2}, setting.options);
    EXPECT_EQ(out.lse.size(0), 0);
    (out.lse.sum() + out.logits.sum()).backward();
    EXPECT_EQ(weight.grad().abs().sum().item<float>(), 0);
  }
}

TEST(Walk, ThreadsAgree) {
  const int before = at::get_num_threads();
  auto p = make_problem(40, 3000, 5, 2);
  at::set_num_threads(1);
  const auto one = walk_catalogue(p.hidden, p.weight, {{1, 2}, p.ids, 5}, {256, 0, nullptr});
  at::set_num_threads(3);
  const auto three = walk_catalogue(p.hidden, p.weight, {{1, 2}, p.ids, 5}, {256, 0, nullptr});
  at::set_num_threads(before);
  expect_close(one.lse, three.lse, "lse by one and three threads", 1e-6);
  expect_close(one.logits, three.logits, "logits by one and three threads", 1e-6);
}

TEST(TopK, EqualsDenseWithTiesToTheLowerId) {
  for (const auto& setting : settings())
    for (const std::int64_t k : {1, 5, 40}) {
      torch::manual_seed(3);
      const auto hidden = torch::randint(-3, 4, {11, 4}, torch::kFloat32);  // small integers: many exact ties
      const auto weight = torch::randint(-2, 3, {40, 4}, torch::kFloat32);
      const auto targets = torch::randint(40, {11}, torch::kInt64);
      const auto got = topk_catalogue(hidden, weight, {k, {1, 2}, targets}, setting.options);
      const auto logits = hidden.matmul(weight.t());
      const auto order = std::get<1>(logits.sort(/*stable=*/true, 1, true)).narrow(1, 0, k);
      EXPECT_TRUE(at::equal(got.ids, order)) << setting.name << " k " << k << "\n" << got.ids << order;
      EXPECT_TRUE(at::equal(got.logits, logits.gather(1, order)));
      auto rest = logits.clone().scatter_(1, order, -std::numeric_limits<float>::infinity());
      expect_close(got.rest_lse, at::stack({at::logsumexp(rest, 1), at::logsumexp(rest / 2, 1)}, 1), setting.name);
      const auto own = logits.gather(1, targets.unsqueeze(1));
      const auto rank = (logits > own).sum(1) + ((logits == own).sum(1) - 1).div(2, "floor");
      EXPECT_TRUE(at::equal(got.target_rank, rank.to(torch::kFloat32))) << setting.name;
      EXPECT_TRUE(at::equal(got.target_logit, own.squeeze(1)));
    }
}

TEST(TopK, TheRestIsExactWhereSubtractionWouldCancel) {
  auto weight = at::randn({5000, 8}) * 1e-3;
  weight[17].fill_(30);
  const auto hidden = torch::ones({2, 8});
  const auto got = topk_catalogue(hidden, weight, {10, {1.0}, {}});
  auto logits = hidden.to(torch::kFloat64).matmul(weight.to(torch::kFloat64).t());
  logits.scatter_(1, got.ids, -std::numeric_limits<double>::infinity());
  expect_close(got.rest_lse.select(1, 0), at::logsumexp(logits, 1).to(torch::kFloat32), "rest", 1e-6);
}

TEST(RankOf, CountsTiesByHalfAndLeavesOutSeenItems) {
  for (const auto& setting : settings()) {
    torch::manual_seed(5);
    const auto hidden = torch::randint(-3, 4, {20, 4}, torch::kFloat32);
    const auto weight = torch::randint(-2, 3, {50, 4}, torch::kFloat32);
    const auto targets = torch::randint(50, {20}, torch::kInt64);
    auto seen = torch::randint(50, {20, 6}, torch::kInt64);
    seen = at::where(seen == targets.unsqueeze(1), torch::full_like(seen, -1), seen);
    seen = std::get<0>(seen.sort(1));
    for (std::int64_t c = 1; c < 6; ++c)  // distinct ids
      seen.select(1, c).copy_(
          at::where(seen.select(1, c) == seen.select(1, c - 1), torch::full({20}, -1), seen.select(1, c)));
    const auto got = rank_in_catalogue(hidden, weight, targets, seen, setting.options);
    for (std::int64_t r = 0; r < 20; ++r) {
      const auto scores = weight.matmul(hidden[r]);
      std::int64_t greater[2] = {0, 0}, equal[2] = {0, 0};
      for (std::int64_t i = 0; i < 50; ++i) {
        if (i == targets[r].item<std::int64_t>()) continue;
        const bool was_seen = (seen[r] == i).any().item<bool>();
        for (int u = 0; u < (was_seen ? 1 : 2); ++u) {
          greater[u] += scores[i].item<float>() > scores[targets[r].item<std::int64_t>()].item<float>();
          equal[u] += scores[i].item<float>() == scores[targets[r].item<std::int64_t>()].item<float>();
        }
      }
      EXPECT_EQ(got.all[r].item<std::int64_t>(), greater[0] + equal[0] / 2) << setting.name << " row " << r;
      EXPECT_EQ(got.unseen[r].item<std::int64_t>(), greater[1] + equal[1] / 2) << setting.name << " row " << r;
    }
  }
}

TEST(RankOf, ANaNScoreIsReported) {
  auto weight = at::randn({30, 4});
  weight[12][0] = std::numeric_limits<float>::quiet_NaN();
  const auto got = rank_in_catalogue(at::randn({3, 4}), weight, torch::zeros({3}, torch::kInt64), {});
  EXPECT_TRUE((got.all == -1).all().item<bool>());
}

/// Real-valued tables, where a product of another shape could round otherwise: the target's own logit, made apart, must
/// have the bits that the tile has, else duplicates of the target's row would not count as ties.
TEST(RankOf, DuplicateRowsTieExactly) {
  torch::manual_seed(9);
  auto weight = at::randn({4000, 64});
  const auto targets = torch::randint(4000, {256}, torch::kInt64);
  const auto hidden = at::randn({256, 64});
  const auto alone = rank_in_catalogue(hidden, weight, targets, {});
  const auto doubled = rank_in_catalogue(hidden, at::cat({weight, weight}), targets, {});
  EXPECT_TRUE(at::equal(doubled.all, alone.all * 2)) << "one equal other counts floor(1 / 2) = 0";
}

TEST(UniformSample, EqualsTheWholeWhenEverythingIsDrawn) {
  LocalTable table(50, 6, 1);
  auto p = make_problem(8, 50, 1, 1);
  UniformSample sample(table, 50, true, 3);
  const auto sampled = sample.walk(p.hidden, {{1.0}, p.ids, 1});
  const auto whole = table.walk(p.hidden, {{1.0}, p.ids, 1});
  expect_close(sampled.lse, whole.lse, "lse");
  expect_close(sampled.logits, whole.logits, "logits");
}

TEST(UniformSample, LogQEstimatesTheWhole) {
  LocalTable table(2000, 6, 1);
  auto p = make_problem(4, 2000, 1, 0);
  double gap = 0;
  for (std::uint64_t key = 0; key < 200; ++key) {
    UniformSample sample(table, 100, true, key);
    gap += (sample.walk(p.hidden, {{1.0}, p.ids, 1}).lse - table.walk(p.hidden, {{1.0}, p.ids, 1}).lse)
               .exp()
               .mean()
               .item<double>();
  }
  EXPECT_NEAR(gap / 200, 1, 0.02);
}

}  // namespace
}  // namespace decant::models
