#include "models/transformer_block.h"

#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>

#include <cmath>

#include "models/initial.h"
#include "models/ops/attention.h"

namespace decant::models {

Linear::Linear(std::int64_t inputs, std::int64_t outputs, std::uint64_t seed, const std::string& name) {
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  weight = register_parameter("weight", initial_uniform({outputs, inputs}, bound, seed, name + ".weight"));
  bias = register_parameter("bias", initial_uniform({outputs}, bound, seed, name + ".bias"));
}

torch::Tensor Linear::forward(const torch::Tensor& x) const { return at::linear(x, weight, bias); }

TransformerBlock::TransformerBlock(const BlockOptions& options, const std::string& name) : options_(options) {
  const std::int64_t dim = options.dim;
  const auto norm = [&](const char* own) {
    return register_module(own, torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim})));
  };
  const auto linear = [&](const char* own, std::int64_t inputs, std::int64_t outputs) {
    return register_module(own, std::make_shared<Linear>(inputs, outputs, options.seed, name + "." + own));
  };
  norm1_ = norm("norm1");
  qkv_ = linear("qkv", dim, 3 * dim);
  out_ = linear("out", dim, dim);
  norm2_ = norm("norm2");
  up_ = linear("up", dim, 4 * dim);
  down_ = linear("down", 4 * dim, dim);
}

torch::Tensor TransformerBlock::forward(const torch::Tensor& x, const std::vector<std::int64_t>& offsets,
                                        const torch::Tensor& token_keys, const torch::Tensor& rows) {
  const auto chosen = [&rows](const torch::Tensor& of) {
    return rows.defined() && of.defined() ? of.index_select(0, rows) : of;
  };
  const std::uint32_t site = options_.first_site;
  const torch::Tensor mixed = packed_attention(qkv_->forward(norm1_->forward(x)), offsets, options_.heads, token_keys,
                                               site, options_.attention_dropout);
  const torch::Tensor keys = chosen(token_keys);
  const torch::Tensor y = chosen(x) + keyed_dropout(out_->forward(chosen(mixed)), keys, site + 1, options_.dropout);
  const torch::Tensor hidden = at::gelu(up_->forward(norm2_->forward(y)));
  return y + keyed_dropout(down_->forward(hidden), keys, site + 2, options_.dropout);
}

}  // namespace decant::models
