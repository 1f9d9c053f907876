// On a device: dropout's bits are those of the CPU, attention and SASRec give the CPU's numbers.
#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/cuda.h>

#include "models/gru4rec.h"
#include "models/ops/attention.h"
#include "models/sasrec.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

class SequenceCuda : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
    torch::manual_seed(0);
  }
  const torch::Device cuda_{torch::kCUDA, 0};
};

TEST_F(SequenceCuda, KeyedDropoutHasEqualBits) {
  const torch::Tensor x = torch::randn({500, 67}), keys = test::random_keys(500);
  EXPECT_TRUE(torch::equal(keyed_dropout(x, keys, 3, 0.2), keyed_dropout(x.to(cuda_), keys.to(cuda_), 3, 0.2).cpu()));
}

TEST_F(SequenceCuda, AttentionEqualsTheCpu) {
  const auto offsets = test::offsets_of({1, 5, 0, 17, 64, 3, 33});
  const torch::Tensor qkv = torch::randn({offsets.back(), 3 * 32}).requires_grad_();
  const torch::Tensor cotangent = torch::randn({offsets.back(), 32}), keys = test::random_keys(offsets.back());
  for (const double p : {0.0, 0.3}) {
    const torch::Tensor here = packed_attention(qkv, offsets, 2, keys, 5, p);
    const torch::Tensor there = packed_attention(qkv.to(cuda_), offsets, 2, keys.to(cuda_), 5, p);
    EXPECT_LT(test::difference(here, there.cpu()), 1e-5) << p;
    EXPECT_LT(test::difference(torch::autograd::grad({here}, {qkv}, {cotangent})[0],
                               torch::autograd::grad({there}, {qkv}, {cotangent.to(cuda_)})[0]),
              1e-4)
        << p;
  }
}

/// Forward and backward with dropout; float32 as the program sets it.
TEST_F(SequenceCuda, Gru4RecEqualsTheCpu) {
  at::globalContext().setAllowTF32CuDNN(false);
  Gru4RecOptions options;
  options.dim = 32;
  options.hidden = 48;
  options.layers = 2;
  Gru4Rec model(options, ModelContext{.items = 100, .seed = 1});
  Inputs inputs = test::inputs_of({7, 1, 0, 20}, 100);
  inputs.score_tokens = torch::tensor({6L, 7L, 27L});
  const auto run = [&] {
    const auto hidden = model.forward(inputs, {}).scores.hidden;
    const auto grads = torch::autograd::grad({hidden.square().sum()}, model.parameters());
    std::vector<torch::Tensor> out{hidden.detach().cpu()};
    for (const auto& grad : grads) out.push_back(grad.cpu());
    return out;
  };
  const auto here = run();
  model.to(cuda_);
  for (torch::Tensor* tensor : {&inputs.columns["items"], &inputs.positions, &inputs.score_tokens, &inputs.token_keys})
    *tensor = tensor->to(cuda_);
  const auto there = run();
  for (std::size_t i = 0; i < here.size(); ++i) EXPECT_LT(test::difference(here[i], there[i]), 1e-4) << i;
}

TEST_F(SequenceCuda, SasRecEqualsTheCpuWithDropout) {
  SasRecOptions options;
  options.dim = 32;
  SasRec model(options, ModelContext{.items = 100, .seed = 1});
  Inputs inputs;
  inputs.offsets = test::offsets_of({7, 1, 20});
  inputs.columns["items"] = torch::randint(100, {28}, torch::kLong);
  inputs.positions = torch::cat({torch::arange(7), torch::arange(1), torch::arange(20)});
  inputs.score_tokens = torch::tensor({6L, 7L, 27L});
  inputs.token_keys = test::random_keys(28);
  const torch::Tensor here = model.forward(inputs, {}).scores.hidden;
  model.to(cuda_);
  for (torch::Tensor* tensor :
       {&inputs.columns["items"], &inputs.positions, &inputs.score_tokens, &inputs.token_keys}) {
    *tensor = tensor->to(cuda_);
  }
  EXPECT_LT(test::difference(here, model.forward(inputs, {}).scores.hidden.cpu()), 1e-4);
}

}  // namespace
}  // namespace decant::models
