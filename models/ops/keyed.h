// Dropout as a function of keys: integer hashes, the same bits on every device, rank and batch.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/ops/sequence_kernels.h"

namespace decant::models {

/// base::mix32 of an int64 tensor with values in [0, 2^32), in tensor operations.
[[nodiscard]] torch::Tensor mix32(const torch::Tensor& x);

/// hash(row, c) = mix32(row_keys + c * 0x9e3779b9), c from 0: [...] int64 -> [..., count] int64 in [0, 2^32).
[[nodiscard]] torch::Tensor hash_columns(const torch::Tensor& row_keys, std::int64_t count);

/// Threshold and scale of dropout p at `site`. Throws ConfigError unless 0 <= p < 1.
[[nodiscard]] KeyedDrop keyed_drop(std::uint32_t site, double p);

/// x [tokens, dim] float32; keeps an element when mix32(mix32(token_key ^ mix32(site)) + channel * 0x9e3779b9) >=
/// p * 2^32, and scales it by 1 / (1 - p). The same bits on every device. p = 0 or undefined keys: x itself.
/// Nothing is stored for the backward pass but the keys. Throws std::invalid_argument when the shapes do not fit.
[[nodiscard]] torch::Tensor keyed_dropout(const torch::Tensor& x, const torch::Tensor& token_keys, std::uint32_t site,
                                          double p);

/// The form of tensor operations by name, for tests on any device.
[[nodiscard]] torch::Tensor keyed_dropout_by_tensors(const torch::Tensor& x, const torch::Tensor& token_keys,
                                                     std::uint32_t site, double p);

}  // namespace decant::models
