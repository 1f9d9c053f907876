#include <cuda_runtime.h>
#include <math_constants.h>

#include "models/ops/tile_kernels_cuda.h"

namespace decant::models {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

/// Reduces over the block; every thread gets the result. `shared` holds kWarps values.
template <class T, class Join>
__device__ T block_reduce(T value, T* shared, Join join) {
  for (int step = 16; step > 0; step /= 2) value = join(value, __shfl_xor_sync(0xffffffffu, value, step));
  __syncthreads();  // the values of an earlier reduction have been read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  value = shared[0];
  for (int warp = 1; warp < kWarps; ++warp) value = join(value, shared[warp]);
  return value;
}

/// One block a row: the row's maximum, then one pass a temperature (the row stays in cache).
__global__ void accumulate_rows(const float* tile, std::int64_t cols, const float* inv_t, std::int64_t temps,
                                float* max, double* sums) {
  __shared__ float highest_of[kWarps];
  __shared__ float sum_of[kWarps];
  const std::int64_t r = blockIdx.x;
  const float* row = tile + r * cols;
  float highest = -CUDART_INF_F;
  for (std::int64_t c = threadIdx.x; c < cols; c += kThreads) highest = row[c] > highest ? row[c] : highest;
  highest = block_reduce(highest, highest_of, [](float a, float b) { return a > b ? a : b; });
  const float before = max[r];
  const float base = before > highest ? before : highest;
  if (base == -CUDART_INF_F) return;  // the same for every thread of the block
  for (std::int64_t t = 0; t < temps; ++t) {
    const float inv = inv_t[t];
    float sum = 0;
    for (std::int64_t c = threadIdx.x; c < cols; c += kThreads) sum += __expf((row[c] - base) * inv);
    sum = block_reduce(sum, sum_of, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) {
      double& total = sums[r * temps + t];
      const double fall = before == -CUDART_INF_F ? 0.0 : exp((double(before) - double(base)) * double(inv));
      total = total * fall + double(sum);
    }
  }
  __syncthreads();  // everyone has read max[r]
  if (threadIdx.x == 0) max[r] = base;
}

__global__ void softmax_grad_rows(float* tile, std::int64_t cols, const float* inv_t, std::int64_t temps,
                                  const float* lse, const float* grad) {
  const std::int64_t r = blockIdx.y;
  const std::int64_t c = std::int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (c >= cols) return;
  const float score = tile[r * cols + c];
  float sum = 0;
  for (std::int64_t t = 0; t < temps; ++t) {
    const float at = lse[r * temps + t], scale = grad[r * temps + t] * inv_t[t];
    if (at != -CUDART_INF_F && scale != 0) sum += scale * __expf(score * inv_t[t] - at);
  }
  tile[r * cols + c] = sum;
}

const char* launch_error() {
  const cudaError_t status = cudaGetLastError();
  return status == cudaSuccess ? nullptr : cudaGetErrorString(status);
}

constexpr std::int64_t kMostRows = 65535;  // of gridDim.y

}  // namespace

const char* cuda_accumulate(const float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t,
                            std::int64_t temps, float* max, double* sums, void* stream) {
  if (rows == 0) return nullptr;
  accumulate_rows<<<unsigned(rows), kThreads, 0, cudaStream_t(stream)>>>(tile, cols, inv_t, temps, max, sums);
  return launch_error();
}

const char* cuda_softmax_grad(float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t, std::int64_t temps,
                              const float* lse, const float* grad, void* stream) {
  for (std::int64_t row = 0; row < rows; row += kMostRows) {
    const std::int64_t count = rows - row < kMostRows ? rows - row : kMostRows;
    const dim3 grid(unsigned((cols + kThreads - 1) / kThreads), unsigned(count));
    softmax_grad_rows<<<grid, kThreads, 0, cudaStream_t(stream)>>>(tile + row * cols, cols, inv_t, temps,
                                                                   lse + row * temps, grad + row * temps);
  }
  return launch_error();
}

}  // namespace decant::models
