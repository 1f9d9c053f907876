// Int8 rows, their kernels on every instruction set, the table that is searched in integers.
#include <ATen/ops/arange.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "models/int8_model.h"
#include "models/ops/int8_kernels.h"
#include "models/sasrec.h"

namespace decant::models {
namespace {

using torch::Tensor;

/// Scores as the table promises them: exact products, then the hidden row's scale, then the item's.
Tensor expected_scores(const Tensor& hidden, const Int8Rows& rows) {
  const auto query = to_int8(hidden);
  const auto products = query.values.to(torch::kInt64).mm(rows.values.to(torch::kInt64).t()).to(torch::kFloat32);
  return products * query.scales * rows.scales.t();
}

TEST(Int8Rows, RoundToHalfAScale) {
  auto x = at::randn({40, 24});
  x[3].zero_();
  x[4] *= 1e-6;
  const auto rows = to_int8(x);
  EXPECT_EQ(rows.values.scalar_type(), torch::kInt8);
  EXPECT_EQ(rows.values.to(torch::kInt64).abs().max().item<std::int64_t>(), 127);
  EXPECT_TRUE((((from_int8(rows) - x).abs() - rows.scales * 0.5001).max() <= 0).item<bool>());
  EXPECT_TRUE(torch::equal(from_int8(rows)[3], x[3]));
  EXPECT_TRUE(torch::equal(to_int8(from_int8(rows)).values, rows.values))
      << "rounding what was rounded changes nothing";
}

TEST(Int8Rows, MatricesAloneAreRounded) {
  const NamedTensors weights{{"a.weight", at::randn({5, 3})}, {"a.bias", at::randn({5})}};
  const auto small = int8_weights(weights);
  ASSERT_EQ(small.size(), 3u);
  EXPECT_EQ(small[0].second.scalar_type(), torch::kInt8);
  EXPECT_EQ(small[1].first, "a.weight_scale");
  EXPECT_EQ(small[1].second.sizes(), (std::vector<std::int64_t>{5, 1}));
  EXPECT_TRUE(torch::equal(small[2].second, weights[1].second));
}

/// Rows that do and do not fill blocks, widths that do and do not fill groups.
class Int8Kernels : public testing::TestWithParam<std::pair<std::int64_t, std::int64_t>> {};

TEST_P(Int8Kernels, SameBitsFromEveryIsa) {
  const auto [items, dim] = GetParam();
  const std::int64_t groups = (dim + 3) / 4, blocks = (items + 15) / 16;
  const auto rows = to_int8(at::randn({items, dim}));
  const auto query = to_int8(at::randn({1, dim}) * 3);
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(blocks * groups * 64), 128);
  for (std::int64_t i = 0; i < items; ++i)
    for (std::int64_t c = 0; c < dim; ++c)
      packed[static_cast<std::size_t>(((i / 16 * groups + c / 4) * 16 + i % 16) * 4 + c % 4)] =
          static_cast<std::uint8_t>(rows.values[i][c].item<int>() + 128);
  std::vector<std::int8_t> bytes(static_cast<std::size_t>(groups * 4));
  std::vector<std::int16_t> words(bytes.size());
  std::int32_t sum = 0;
  for (std::int64_t c = 0; c < dim; ++c) {
    words[static_cast<std::size_t>(c)] = query.values[0][c].item<std::int8_t>();
    bytes[static_cast<std::size_t>(c)] = query.values[0][c].item<std::int8_t>();
    sum += words[static_cast<std::size_t>(c)];
  }
  const auto products = query.values.to(torch::kInt64).mm(rows.values.to(torch::kInt64).t()).to(torch::kFloat32);
  const auto wanted = (products * query.scales * rows.scales.t())[0];
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > best_isa()) continue;
    auto out = torch::full({items + 1}, -5.0f);
    int8_functions(isa).scores(packed.data(), items, groups,
                               {bytes.data(), words.data(), sum, query.scales.item<float>()},
                               rows.scales.const_data_ptr<float>(), out.data_ptr<float>());
    EXPECT_TRUE(torch::equal(out.narrow(0, 0, items), wanted)) << isa_name(isa);
    EXPECT_EQ(out[items].item<float>(), -5.0f) << isa_name(isa) << " wrote beyond the last row";
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Int8Kernels,
                         testing::Values(std::pair(1, 1), std::pair(15, 4), std::pair(16, 8), std::pair(17, 9),
                                         std::pair(63, 64), std::pair(64, 3), std::pair(200, 50), std::pair(333, 128)));

TEST(Int8Table, SearchesAndRanksByItsScores) {
  const torch::NoGradGuard no_grad;
  const std::int64_t items = 5003, dim = 30, rows = 600;  // several tiles, two chunks of rows
  const auto held = to_int8(at::randn({items, dim}));
  Int8Table table(held);
  const auto hidden = at::randn({rows, dim});
  const auto targets = torch::randint(items, {rows}, torch::kInt64);
  const auto scores = expected_scores(hidden, held);
  const auto found = table.topk(hidden, {7, {}, targets});
  const auto own = scores.gather(1, targets.unsqueeze(1));
  EXPECT_TRUE(torch::equal(found.logits, std::get<0>(scores.topk(7, 1))));
  EXPECT_TRUE(torch::equal(found.logits, scores.gather(1, found.ids)));
  EXPECT_TRUE(torch::equal(found.target_logit, own.squeeze(1)));
  const auto rank = (scores > own).sum(1) + ((scores == own).sum(1) - 1).div(2, "floor");
  EXPECT_TRUE(torch::equal(found.target_rank, rank.to(torch::kFloat32)));
  const auto ranked = table.rank_of(hidden, targets, {}, {});
  EXPECT_TRUE(torch::equal(ranked.all, rank));
  EXPECT_FALSE(ranked.unseen.defined());

  // The best item of the first row is seen.
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(rows + 1), 1);
  offsets[0] = 0;
  const auto best = found.ids[0][0].item<std::int64_t>();
  auto first = targets.clone();
  first[0] = found.ids[0][3].item<std::int64_t>();
  const auto less = table.rank_of(hidden, first, offsets, {best});
  EXPECT_EQ(less.all[0].item<std::int64_t>(), 3);
  EXPECT_EQ(less.unseen[0].item<std::int64_t>(), 2);
}

TEST(Int8Table, AStateThatIsNotFiniteHasNoRank) {
  Int8Table table(to_int8(at::randn({50, 8})));
  auto hidden = at::randn({2, 8});
  hidden[1][5] = std::numeric_limits<float>::infinity();
  const auto ranks = table.rank_of(hidden, torch::zeros({2}, torch::kInt64), {}, {}).all;
  EXPECT_GE(ranks[0].item<std::int64_t>(), 0);
  EXPECT_EQ(ranks[1].item<std::int64_t>(), -1);
}

TEST(Int8Table, TheRestWorksOnDecodedRows) {
  const torch::NoGradGuard no_grad;
  const auto held = to_int8(at::randn({70, 12}));
  Int8Table table(held);
  const auto hidden = at::randn({3, 12});
  EXPECT_EQ(table.items(), 70);
  EXPECT_EQ(table.dim(), 12);
  EXPECT_EQ(table.values(), 70 * 12);
  EXPECT_TRUE(
      torch::equal(table.lookup(torch::tensor({5, 0, 5})), from_int8(held).index_select(0, torch::tensor({5, 0, 5}))));
  const auto walked = table.walk(hidden, {{1.0}, {}, 0});
  EXPECT_TRUE(torch::allclose(walked.lse.squeeze(1), hidden.mm(from_int8(held).t()).logsumexp(1), 1e-5, 1e-5));
  EXPECT_TRUE(torch::allclose(table.spread().mean, from_int8(held).mean(0), 1e-5, 1e-6));
}

TEST(Int8Model, ComputesOnRoundedWeights) {
  const torch::NoGradGuard no_grad;
  SasRecOptions options;
  options.dim = 16, options.layers = 1, options.heads = 2, options.max_length = 6;
  const auto plain = std::make_shared<SasRec>(options, ModelContext{40, 3});
  plain->eval();
  Inputs inputs;
  inputs.columns["items"] = torch::tensor({1, 7, 3, 39, 2}, torch::kInt64);
  inputs.offsets = {0, 2, 5};
  inputs.positions = torch::tensor({0, 1, 0, 1, 2}, torch::kInt64);
  inputs.score_tokens = torch::tensor({1, 4}, torch::kInt64);
  const auto before = plain->forward(inputs, {}).scores.hidden.clone();
  auto copy = std::make_shared<SasRec>(options, ModelContext{40, 3});
  Int8Model rounded(copy);
  const auto output = rounded.forward(inputs, {});
  EXPECT_EQ(output.scores.catalogue, &rounded.table());
  EXPECT_FALSE(torch::equal(output.scores.hidden, before));
  EXPECT_TRUE(torch::allclose(output.scores.hidden, before, 0.05, 0.05));
  for (const auto& weight : copy->parameters()) {
    const bool same = weight.dim() != 2 || torch::equal(weight, from_int8(to_int8(weight)));
    EXPECT_TRUE(same);
  }
  EXPECT_TRUE(torch::equal(rounded.table().lookup(at::arange(40)), copy->table().lookup(at::arange(40))));
}

}  // namespace
}  // namespace decant::models
