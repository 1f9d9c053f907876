#include "models/ops/keyed.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <stdexcept>

#include "base/errors.h"
#include "base/random.h"

namespace decant::models {

namespace {

constexpr std::int64_t kLow = 0xffffffff;
constexpr std::int64_t kGolden = 0x9e3779b9;
/// Elements below which a second thread costs more than it brings.
constexpr std::int64_t kGrain = 16384;

/// keep_scale or 0 for each element of [tokens, dim].
torch::Tensor factors(const torch::Tensor& token_keys, std::int64_t dim, const KeyedDrop& drop) {
  const torch::Tensor rows = mix32(token_keys.bitwise_xor(static_cast<std::int64_t>(drop.site_key)));
  return hash_columns(rows, dim).ge(static_cast<std::int64_t>(drop.threshold)).to(torch::kFloat) * drop.keep_scale;
}

torch::Tensor run_kernel(const torch::Tensor& x, const torch::Tensor& token_keys, const KeyedDrop& drop) {
  const torch::Tensor from = x.contiguous();
  torch::Tensor out = torch::empty_like(from);
  const std::int64_t dim = from.size(-1);
  const DropoutArgs args{from.const_data_ptr<float>(), out.mutable_data_ptr<float>(),
                         token_keys.const_data_ptr<std::int64_t>(), dim, drop};
  const SequenceKernels& kernels = sequence_kernels();
  at::parallel_for(0, from.size(0), std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(dim, 1)),
                   [&](std::int64_t begin, std::int64_t end) { kernels.dropout(args, begin, end); });
  return out;
}

/// Linear in x, so the backward pass is the forward pass applied to the gradient.
class KeyedDropout : public torch::autograd::Function<KeyedDropout> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& token_keys, std::int64_t site, double p) {
    context->saved_data["keys"] = token_keys;
    context->saved_data["site"] = site;
    context->saved_data["p"] = p;
    return run_kernel(x, token_keys, keyed_drop(static_cast<std::uint32_t>(site), p));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto site = static_cast<std::uint32_t>(context->saved_data["site"].toInt());
    return {keyed_dropout(grads[0], context->saved_data["keys"].toTensor(), site, context->saved_data["p"].toDouble()),
            {},
            {},
            {}};
  }
};

}  // namespace

torch::Tensor mix32(const torch::Tensor& x) {
  // Products wrap modulo 2^64, so their low 32 bits are right.
  torch::Tensor y = x.bitwise_xor(x.bitwise_right_shift(16));
  y = y.mul_(static_cast<std::int64_t>(0x85ebca6b)).bitwise_and_(kLow);
  y = y.bitwise_xor(y.bitwise_right_shift(13));
  y = y.mul_(static_cast<std::int64_t>(0xc2b2ae35)).bitwise_and_(kLow);
  return y.bitwise_xor(y.bitwise_right_shift(16));
}

torch::Tensor hash_columns(const torch::Tensor& row_keys, std::int64_t count) {
  const torch::Tensor columns = torch::arange(count, row_keys.options()).mul_(kGolden).bitwise_and_(kLow);
  return mix32((row_keys.unsqueeze(-1) + columns).bitwise_and_(kLow));
}

KeyedDrop keyed_drop(std::uint32_t site, double p) {
  if (!(p >= 0 && p < 1)) throw base::ConfigError("dropout must be in [0, 1), not " + std::to_string(p));
  return {base::mix32(site), static_cast<std::uint32_t>(p * 0x1p32), static_cast<float>(1 / (1 - p))};
}

torch::Tensor keyed_dropout(const torch::Tensor& x, const torch::Tensor& token_keys, std::uint32_t site, double p) {
  if (p == 0 || !token_keys.defined()) return x;
  if (x.dim() != 2 || token_keys.numel() != x.size(0)) {
    throw std::invalid_argument("keyed_dropout: " + std::to_string(token_keys.numel()) + " keys for " +
                                std::to_string(x.size(0)) + " tokens");
  }
  if (!x.is_cpu()) return keyed_dropout_by_tensors(x, token_keys, site, p);
  return KeyedDropout::apply(x, token_keys.contiguous(), static_cast<std::int64_t>(site), p);
}

torch::Tensor keyed_dropout_by_tensors(const torch::Tensor& x, const torch::Tensor& token_keys, std::uint32_t site,
                                       double p) {
  if (p == 0 || !token_keys.defined()) return x;
  return x * factors(token_keys, x.size(-1), keyed_drop(site, p));
}

}  // namespace decant::models
