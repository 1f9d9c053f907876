// SASRec against the numbers of its PyTorch twin: tests/golden/README.md.
#include "models/sasrec.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "models/weights_file.h"

namespace decant::models {
namespace {

constexpr double kTolerance = 1e-5;

class GoldenSasRec : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = DECANT_SOURCE_DIR "/tests/golden/data/sasrec.safetensors";
    for (auto& [name, tensor] : load_weights(path).tensors) golden_.emplace(name, tensor);
    const torch::Tensor spec = golden_.at("spec");
    const auto size = [&](std::int64_t i) { return spec[i].item<std::int64_t>(); };
    SasRecOptions options;
    options.dim = size(1), options.layers = size(2), options.heads = size(3), options.max_length = size(4);
    model_ = std::make_shared<SasRec>(options, ModelContext{.items = size(0), .seed = 1});
    model_->eval();
    const torch::NoGradGuard no_grad;
    for (auto& parameter : model_->named_parameters())
      parameter.value().copy_(golden_.at("weights." + parameter.key()));
    const torch::Tensor offsets = golden_.at("offsets");
    inputs_.offsets.assign(offsets.data_ptr<std::int64_t>(), offsets.data_ptr<std::int64_t>() + offsets.numel());
    inputs_.columns["items"] = golden_.at("ids");
    inputs_.positions = torch::empty_like(golden_.at("ids"));
    for (std::size_t s = 0; s + 1 < inputs_.offsets.size(); ++s) {
      const std::int64_t length = inputs_.offsets[s + 1] - inputs_.offsets[s];
      inputs_.positions.narrow(0, inputs_.offsets[s], length).copy_(torch::arange(length));
    }
    inputs_.score_tokens = torch::arange(inputs_.tokens());
  }

  std::map<std::string, torch::Tensor> golden_;
  std::shared_ptr<SasRec> model_;
  Inputs inputs_;
};

double relative(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

TEST_F(GoldenSasRec, NamesAndShapesAreTheTwins) {
  std::size_t weights = 0;
  for (const auto& [name, tensor] : golden_) weights += name.starts_with("weights.") ? 1 : 0;
  const auto parameters = model_->named_parameters();
  EXPECT_EQ(parameters.size(), weights);
  for (const auto& parameter : parameters) {
    ASSERT_TRUE(golden_.contains("weights." + parameter.key())) << parameter.key();
    EXPECT_EQ(parameter.value().sizes(), golden_.at("weights." + parameter.key()).sizes()) << parameter.key();
  }
}

TEST_F(GoldenSasRec, Forward) {
  EXPECT_LT(relative(model_->forward(inputs_, {}).scores.hidden, golden_.at("hidden")), kTolerance);
}

TEST_F(GoldenSasRec, Gradients) {
  (model_->forward(inputs_, {}).scores.hidden * golden_.at("cotangent")).sum().backward();
  const std::int64_t dim = model_->table().dim();
  for (const auto& parameter : model_->named_parameters()) {
    torch::Tensor grad = parameter.value().grad(), wanted = golden_.at("grad." + parameter.key());
    if (parameter.key().ends_with("qkv.bias")) {
      // A key's bias adds the same to all scores of a row: its gradient is nothing but rounding.
      EXPECT_LT(grad.narrow(0, dim, dim).abs().max().item<double>(), kTolerance * wanted.abs().max().item<double>());
      grad = torch::cat({grad.narrow(0, 0, dim), grad.narrow(0, 2 * dim, dim)});
      wanted = torch::cat({wanted.narrow(0, 0, dim), wanted.narrow(0, 2 * dim, dim)});
    }
    EXPECT_LT(relative(grad, wanted), kTolerance) << parameter.key();
  }
}

}  // namespace
}  // namespace decant::models
