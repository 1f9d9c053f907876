// Initial values as functions of (seed, parameter name): the order in which parameters are made does not matter.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string_view>

namespace decant::models {

/// float32 from N(0, deviation).
[[nodiscard]] torch::Tensor initial_normal(at::IntArrayRef shape, double deviation, std::uint64_t seed,
                                           std::string_view name);

/// float32 from U(-bound, bound).
[[nodiscard]] torch::Tensor initial_uniform(at::IntArrayRef shape, double bound, std::uint64_t seed,
                                            std::string_view name);

}  // namespace decant::models
