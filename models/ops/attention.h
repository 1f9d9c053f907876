// Causal self-attention over packed sequences.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "models/ops/keyed.h"

namespace decant::models {

/// qkv [tokens, 3 * dim] float32 (q, k, v; each split into heads) -> [tokens, dim]; token i of a sequence attends to
/// tokens 0..i of it, scale 1/sqrt(dim/heads). Probabilities have dropout p keyed by (token_key of i, site, head, j);
/// undefined keys or p = 0: none. CPU: one pass, one thread a (sequence, head), nothing stored but the result and two
/// numbers a row. Other devices: sequences grouped by length rounded up to a power of two. Differentiable once. Throws
/// std::invalid_argument when the shapes do not fit.
[[nodiscard]] torch::Tensor packed_attention(const torch::Tensor& qkv, const std::vector<std::int64_t>& offsets,
                                             std::int64_t heads, const torch::Tensor& token_keys, std::uint32_t site,
                                             double p);

/// The grouped form by name, for tests on any device.
[[nodiscard]] torch::Tensor grouped_attention(const torch::Tensor& qkv, const std::vector<std::int64_t>& offsets,
                                              std::int64_t heads, const torch::Tensor& token_keys, std::uint32_t site,
                                              double p);

}  // namespace decant::models
