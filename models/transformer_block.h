// One pre-norm causal transformer block over packed sequences, and the linear layer it is made of.
#pragma once

#include <torch/nn/module.h>
#include <torch/nn/modules/normalization.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace decant::models {

/// x weight^T + bias with PyTorch's default initial values, U(-1/sqrt(inputs), 1/sqrt(inputs)) for both, drawn from
/// (seed, name + ".weight" and ".bias"). Not torch::nn::Linear, which would draw them from a global generator first.
class Linear : public torch::nn::Module {
 public:
  Linear(std::int64_t inputs, std::int64_t outputs, std::uint64_t seed, const std::string& name);
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& x) const;
  torch::Tensor weight, bias;
};

struct BlockOptions {
  std::int64_t dim = 0, heads = 0;
  double dropout = 0, attention_dropout = 0;
  std::uint32_t first_site = 0;  // of three sites of keyed dropout: probabilities, attention's output, MLP's output
  std::uint64_t seed = 0;
};

/// x + drop(out(attention(norm1(x)))), then x + drop(down(gelu(up(norm2(x))))).
class TransformerBlock : public torch::nn::Module {
 public:
  static constexpr std::uint32_t kSites = 3;
  /// `name`: the block's full name in the model, which keys its initial values.
  TransformerBlock(const BlockOptions& options, const std::string& name);

  /// x [tokens, dim] -> [tokens, dim], or [rows, dim] when `rows` [rows] int64 is defined: then only those tokens pass
  /// what follows the attention. Undefined keys: no dropout.
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& x, const std::vector<std::int64_t>& offsets,
                                      const torch::Tensor& token_keys, const torch::Tensor& rows = {});

 private:
  BlockOptions options_;
  torch::nn::LayerNorm norm1_{nullptr}, norm2_{nullptr};
  std::shared_ptr<Linear> qkv_, out_, up_, down_;
};

}  // namespace decant::models
