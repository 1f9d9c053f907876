#include "models/int8_rows.h"

namespace decant::models {

namespace {

constexpr double kLargest = 127, kLeast = 1e-30;

}  // namespace

Int8Rows to_int8(const torch::Tensor& x) {
  const torch::NoGradGuard no_grad;
  const auto scales = x.abs().amax(1, /*keepdim=*/true).clamp_min(kLeast) / kLargest;
  return {(x / scales).round().to(torch::kInt8), scales};
}

torch::Tensor from_int8(const Int8Rows& rows) { return rows.values.to(torch::kFloat32) * rows.scales; }

bool fits_int8(const torch::Tensor& weight) { return weight.dim() == 2 && weight.scalar_type() == torch::kFloat32; }

NamedTensors int8_weights(const NamedTensors& weights) {
  NamedTensors out;
  for (const auto& [name, weight] : weights) {
    if (!fits_int8(weight)) {
      out.emplace_back(name, weight);
      continue;
    }
    auto rows = to_int8(weight);
    out.emplace_back(name, rows.values);
    out.emplace_back(name + kInt8Scale, rows.scales);
  }
  return out;
}

}  // namespace decant::models
