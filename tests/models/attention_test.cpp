#include "models/ops/attention.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <array>

#include "base/random.h"
#include "models/ops/sequence_kernels.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

using test::difference;
using test::offsets_of;
using test::random_keys;

constexpr std::uint32_t kSite = 5;

struct Result {
  torch::Tensor out, grad;
};

template <class Function>
Result run(const Function& function, const torch::Tensor& qkv, const torch::Tensor& cotangent) {
  const torch::Tensor leaf = qkv.detach().clone().requires_grad_();
  const torch::Tensor out = function(leaf);
  return {out.detach(), torch::autograd::grad({out}, {leaf}, {cotangent})[0]};
}

using Attention = test::OneThread;
class AttentionShapes : public test::OneThread, public testing::WithParamInterface<std::array<std::int64_t, 2>> {};

TEST_P(AttentionShapes, PackedEqualsPlainFormulaAndGroupedForm) {
  const auto [heads, head_dim] = GetParam();
  const auto offsets = offsets_of({1, 2, 3, 0, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 0});
  torch::manual_seed(heads * 100 + head_dim);
  const torch::Tensor qkv = torch::randn({offsets.back(), 3 * heads * head_dim});
  const torch::Tensor cotangent = torch::randn({offsets.back(), heads * head_dim});
  const torch::Tensor keys = random_keys(offsets.back());
  const std::int64_t h = heads;  // lambdas cannot capture a structured binding
  const Result plain = run([&](const auto& x) { return test::plain_attention(x, offsets, h); }, qkv.to(torch::kDouble),
                           cotangent.to(torch::kDouble));
  for (const double p : {0.0, 0.3}) {
    const Result packed =
        run([&](const auto& x) { return packed_attention(x, offsets, h, keys, kSite, p); }, qkv, cotangent);
    const Result grouped =
        run([&](const auto& x) { return grouped_attention(x, offsets, h, keys, kSite, p); }, qkv, cotangent);
    EXPECT_LT(difference(packed.out, grouped.out), 5e-6) << "p " << p;
    EXPECT_LT(difference(packed.grad, grouped.grad), 2e-5) << "p " << p;
    if (p > 0) continue;
    EXPECT_LT(difference(packed.out, plain.out), 5e-6);
    EXPECT_LT(difference(packed.grad, plain.grad), 2e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, AttentionShapes,
                         testing::Values(std::array<std::int64_t, 2>{1, 1}, std::array<std::int64_t, 2>{2, 3},
                                         std::array<std::int64_t, 2>{2, 4}, std::array<std::int64_t, 2>{1, 8},
                                         std::array<std::int64_t, 2>{4, 16}, std::array<std::int64_t, 2>{2, 24},
                                         std::array<std::int64_t, 2>{2, 32}, std::array<std::int64_t, 2>{3, 40},
                                         std::array<std::int64_t, 2>{1, 64}));

TEST_F(Attention, EveryShortLengthAndThousands) {
  torch::manual_seed(1);
  for (const std::vector<std::int64_t>& lengths : {std::vector<std::int64_t>{3000}, {1}, {1, 1, 1}, {1025, 2, 511}}) {
    const auto offsets = offsets_of(lengths);
    const torch::Tensor qkv = torch::randn({offsets.back(), 3 * 16}), cotangent = torch::randn({offsets.back(), 16});
    const Result packed = run([&](const auto& x) { return packed_attention(x, offsets, 2, {}, 0, 0); }, qkv, cotangent);
    const Result plain = run([&](const auto& x) { return test::plain_attention(x, offsets, 2); }, qkv, cotangent);
    EXPECT_LT(difference(packed.out, plain.out), 1e-5);
    EXPECT_LT(difference(packed.grad, plain.grad), 5e-5);
  }
  for (std::int64_t length = 1; length <= 70; ++length) {
    const auto offsets = offsets_of({length});
    const torch::Tensor qkv = torch::randn({length, 3 * 8});
    EXPECT_LT(difference(packed_attention(qkv, offsets, 1, {}, 0, 0), test::plain_attention(qkv, offsets, 1)), 5e-6);
  }
}

TEST_F(Attention, FiniteDifferencesWithDropout) {
  const auto offsets = offsets_of({3, 1, 6});
  torch::manual_seed(2);
  const torch::Tensor qkv = torch::randn({10, 3 * 4}), cotangent = torch::randn({10, 4}), keys = random_keys(10);
  const auto loss = [&](const torch::Tensor& x) {
    return (packed_attention(x, offsets, 2, keys, kSite, 0.4) * cotangent).to(torch::kDouble).sum().item<double>();
  };
  const Result packed =
      run([&](const auto& x) { return packed_attention(x, offsets, 2, keys, kSite, 0.4); }, qkv, cotangent);
  constexpr double kStep = 1e-2;
  for (std::int64_t i = 0; i < qkv.numel(); ++i) {
    torch::Tensor up = qkv.clone(), down = qkv.clone();
    up.view(-1)[i] += kStep;
    down.view(-1)[i] -= kStep;
    EXPECT_NEAR((loss(up) - loss(down)) / (2 * kStep), packed.grad.view(-1)[i].item<double>(), 2e-3) << i;
  }
}

TEST_F(Attention, BitsDoNotDependOnThreadsOrBatch) {
  const auto offsets = offsets_of({40, 3, 17, 120, 1, 64, 9, 33});
  torch::manual_seed(3);
  const torch::Tensor qkv = torch::randn({offsets.back(), 3 * 32}), cotangent = torch::randn({offsets.back(), 32});
  const torch::Tensor keys = random_keys(offsets.back());
  const auto attend = [&](const auto& x) { return packed_attention(x, offsets, 4, keys, kSite, 0.2); };
  const Result one = run(attend, qkv, cotangent);
  for (const int threads : {2, 3, 4}) {
    at::set_num_threads(threads);
    const Result many = run(attend, qkv, cotangent);
    EXPECT_TRUE(torch::equal(one.out, many.out)) << threads;
    EXPECT_TRUE(torch::equal(one.grad, many.grad)) << threads;
  }
  at::set_num_threads(1);
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
    const std::int64_t begin = offsets[s], length = offsets[s + 1] - begin;
    const auto alone = [&](const auto& x) {
      return packed_attention(x, {0, length}, 4, keys.narrow(0, begin, length).contiguous(), kSite, 0.2);
    };
    const Result part = run(alone, qkv.narrow(0, begin, length), cotangent.narrow(0, begin, length));
    EXPECT_TRUE(torch::equal(part.out, one.out.narrow(0, begin, length))) << s;
    EXPECT_TRUE(torch::equal(part.grad, one.grad.narrow(0, begin, length))) << s;
  }
}

TEST_F(Attention, GradAndNoGradPathsAgree) {
  const auto offsets = offsets_of({5, 12});
  const torch::Tensor qkv = torch::randn({17, 3 * 16}).requires_grad_();
  const torch::Tensor with = packed_attention(qkv, offsets, 2, {}, 0, 0);
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(torch::equal(with, packed_attention(qkv, offsets, 2, {}, 0, 0)));
}

TEST_F(Attention, EmptyBatch) {
  const torch::Tensor qkv = torch::randn({0, 3 * 8}).requires_grad_();
  for (const std::vector<std::int64_t>& offsets : {std::vector<std::int64_t>{0}, {0, 0}, {}}) {
    for (const bool grouped : {false, true}) {
      const torch::Tensor out =
          grouped ? grouped_attention(qkv, offsets, 2, {}, 0, 0) : packed_attention(qkv, offsets, 2, {}, 0, 0);
      EXPECT_EQ(out.sizes(), (std::vector<std::int64_t>{0, 8}));
      EXPECT_EQ(torch::autograd::grad({out.sum()}, {qkv})[0].sizes(), qkv.sizes());
    }
  }
}

TEST_F(Attention, ShapesThatDoNotFitAreRefused) {
  const torch::Tensor qkv = torch::zeros({4, 3 * 8});
  for (const auto& attend : {packed_attention, grouped_attention}) {
    EXPECT_THROW((void)attend(qkv, {0, 3}, 2, {}, 0, 0), std::invalid_argument);
    EXPECT_THROW((void)attend(qkv, {}, 2, {}, 0, 0), std::invalid_argument);
    EXPECT_THROW((void)attend(qkv, {0, 4}, 3, {}, 0, 0), std::invalid_argument);
  }
}

TEST_F(Attention, HasNoSecondDerivative) {
  const torch::Tensor qkv = torch::randn({4, 3 * 8}).requires_grad_();
  const torch::Tensor out = packed_attention(qkv, {0, 4}, 2, {}, 0, 0);
  EXPECT_THROW((void)torch::autograd::grad({out.sum()}, {qkv}, {}, true, true), std::logic_error);
}

TEST_F(Attention, LargeScoresStayFiniteAndNanIsSeen) {
  const auto offsets = offsets_of({6});
  torch::manual_seed(4);
  torch::Tensor qkv = torch::randn({6, 3 * 4}) * 100;
  const Result packed =
      run([&](const auto& x) { return packed_attention(x, offsets, 1, {}, 0, 0); }, qkv, torch::ones({6, 4}));
  EXPECT_LT(difference(packed.out, test::plain_attention(qkv, offsets, 1)), 1e-3);
  EXPECT_TRUE(packed.grad.isfinite().all().item<bool>());
  qkv[2][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(packed_attention(qkv, offsets, 1, {}, 0, 0)[2].isnan().all().item<bool>());
}

// The probabilities are read off by values that are the identity: out[i] = row i of the dropped matrix.
TEST_F(Attention, DropoutHasItsRateAndKeepsTheMean) {
  constexpr std::int64_t kLength = 64;
  constexpr double kP = 0.25;
  torch::Tensor qkv = torch::zeros({kLength, 3 * kLength});
  qkv.narrow(1, 2 * kLength, kLength).copy_(torch::eye(kLength));
  torch::manual_seed(5);
  double kept = 0, total = 0;
  for (int round = 0; round < 20; ++round) {
    const torch::Tensor out = packed_attention(qkv, {0, kLength}, 1, random_keys(kLength), kSite, kP);
    for (std::int64_t i = 0; i < kLength; ++i) {
      const torch::Tensor row = out[i].narrow(0, 0, i + 1) * static_cast<double>(i + 1);
      kept += row.gt(0).sum().item<double>();
      total += static_cast<double>(i + 1);
      EXPECT_TRUE(torch::logical_or(row.eq(0), (row - 1 / (1 - kP)).abs() < 1e-5).all().item<bool>());
    }
  }
  EXPECT_NEAR(kept / total, 1 - kP, 5 * std::sqrt(kP * (1 - kP) / total));
}

TEST_F(Attention, EveryIsaOfThisMachineAgrees) {
  const auto offsets = offsets_of({1, 7, 20, 50});
  torch::manual_seed(6);
  const std::int64_t heads = 2, head_dim = 12, tokens = offsets.back();
  const torch::Tensor qkv = torch::randn({tokens, 3 * heads * head_dim}), keys = random_keys(tokens);
  const torch::Tensor cotangent = torch::randn({tokens, heads * head_dim});
  const Result wanted =
      run([&](const auto& x) { return packed_attention(x, offsets, heads, keys, kSite, 0.3); }, qkv, cotangent);
  for (const Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > best_isa()) continue;
    torch::Tensor out = torch::empty_like(cotangent), stats = torch::empty({tokens, heads, 2});
    torch::Tensor grad = torch::empty_like(qkv), scratch = torch::empty({attention_scratch(50, head_dim)});
    const AttentionArgs args{
        qkv.data_ptr<float>(),  offsets.data(),        keys.data_ptr<std::int64_t>(), heads, head_dim,
        keyed_drop(kSite, 0.3), out.data_ptr<float>(), stats.data_ptr<float>()};
    sequence_kernels(isa).attention_forward(args, 0, 4 * heads, scratch.data_ptr<float>());
    EXPECT_LT(difference(out, wanted.out), 5e-6) << isa_name(isa);
    sequence_kernels(isa).attention_backward({args, cotangent.data_ptr<float>(), grad.data_ptr<float>()}, 0, 4 * heads,
                                             scratch.data_ptr<float>());
    EXPECT_LT(difference(grad, wanted.grad), 2e-5) << isa_name(isa);
  }
}

}  // namespace
}  // namespace decant::models
