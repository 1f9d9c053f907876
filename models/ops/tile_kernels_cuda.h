// CUDA forms of the two steps that dominate a walk. Raw device pointers; launched on `stream` (a cudaStream_t).
#pragma once

#include <cstdint>

namespace decant::models {

/// As TileFunctions::accumulate; inv_t on the device. Returns nullptr, or the launch error's text.
const char* cuda_accumulate(const float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t,
                            std::int64_t temps, float* max, double* sums, void* stream);

/// As TileFunctions::softmax_grad.
const char* cuda_softmax_grad(float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t, std::int64_t temps,
                              const float* lse, const float* grad, void* stream);

}  // namespace decant::models
