// Raw CPU kernels over one tile of logits [rows, cols], row-major and contiguous; compiled once for each instruction
// set from tile_kernels.isa.cpp. No torch here.
#pragma once

#include <cstdint>

namespace decant::models {

struct TileFunctions {
  /// Online log-sum-exp: raises max[r] to the tile's maximum and adds exp((s - max[r]) * inv_t) to sums[r * temps + t],
  /// rescaling what was there. Rows that are all -inf change nothing. A NaN makes the sums NaN.
  void (*accumulate)(const float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t, std::int64_t temps,
                     float* max, double* sums);
  /// In place: s becomes sum over t of grad[r, t] * inv_t * exp(s * inv_t - lse[r, t]). Entries of -inf become 0.
  void (*softmax_grad)(float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t, std::int64_t temps,
                       const float* lse, const float* grad);
  /// Adds to greater[r], equal[r] and broken[r] the numbers of entries above threshold[r], equal to it, and NaN.
  void (*count)(const float* tile, std::int64_t rows, std::int64_t cols, const float* threshold, std::int64_t* greater,
                std::int64_t* equal, std::int64_t* broken);
  /// Columns of one row above `threshold`, ascending, into `out` (room for cols); returns how many.
  std::int64_t (*above)(const float* row, std::int64_t cols, float threshold, std::int32_t* out);
};

/// The best set this machine runs.
[[nodiscard]] const TileFunctions& tile_functions();

}  // namespace decant::models
