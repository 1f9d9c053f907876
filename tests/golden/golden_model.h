// A model with the weights of a golden file, and the file's packed batch.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "models/model.h"
#include "models/weights_file.h"

namespace decant::models::golden {

constexpr double kTolerance = 1e-5;

inline double relative(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

class GoldenModel : public testing::Test {
 protected:
  void read(const std::string& name) {
    const std::string path = DECANT_SOURCE_DIR "/tests/golden/data/" + name + ".safetensors";
    for (auto& [key, tensor] : load_weights(path).tensors) golden_.emplace(key, tensor);
    const auto offsets = golden_.at("offsets");
    inputs_.offsets.assign(offsets.data_ptr<std::int64_t>(), offsets.data_ptr<std::int64_t>() + offsets.numel());
    inputs_.columns["items"] = golden_.at("ids");
    inputs_.positions = torch::empty_like(golden_.at("ids"));
    for (std::size_t s = 0; s + 1 < inputs_.offsets.size(); ++s) {
      const std::int64_t length = inputs_.offsets[s + 1] - inputs_.offsets[s];
      inputs_.positions.narrow(0, inputs_.offsets[s], length).copy_(torch::arange(length));
    }
    inputs_.score_tokens = torch::arange(inputs_.tokens());
  }

  /// Of the file's "spec".
  [[nodiscard]] std::int64_t size(std::int64_t i) const { return golden_.at("spec")[i].item<std::int64_t>(); }

  void take(std::shared_ptr<SequenceModel> model) {
    model_ = std::move(model);
    model_->eval();
    const torch::NoGradGuard no_grad;
    for (auto& parameter : model_->named_parameters())
      parameter.value().copy_(golden_.at("weights." + parameter.key()));
  }

  void expect_names_and_shapes() const {
    std::size_t weights = 0;
    for (const auto& [name, tensor] : golden_) weights += name.starts_with("weights.") ? 1 : 0;
    const auto parameters = model_->named_parameters();
    EXPECT_EQ(parameters.size(), weights);
    for (const auto& parameter : parameters) {
      ASSERT_TRUE(golden_.contains("weights." + parameter.key())) << parameter.key();
      EXPECT_EQ(parameter.value().sizes(), golden_.at("weights." + parameter.key()).sizes()) << parameter.key();
    }
  }

  void expect_forward() {
    EXPECT_LT(relative(model_->forward(inputs_, {}).scores.hidden, golden_.at("hidden")), kTolerance);
  }

  void backward() { (model_->forward(inputs_, {}).scores.hidden * golden_.at("cotangent")).sum().backward(); }

  std::map<std::string, torch::Tensor> golden_;
  std::shared_ptr<SequenceModel> model_;
  Inputs inputs_;
};

}  // namespace decant::models::golden
