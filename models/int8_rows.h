// Matrices as int8 rows with a scale each: how weights are made small for serving.
#pragma once

#include <torch/types.h>

#include "models/weights_file.h"

namespace decant::models {

/// Row r of the matrix is values[r] * scales[r]. Symmetric: values in [-127, 127].
struct Int8Rows {
  torch::Tensor values;  // [rows, columns] int8
  torch::Tensor scales;  // [rows, 1] float32, > 0
};

/// x [rows, columns] float32 on the CPU. scale = max |x| / 127 of the row (1e-30 / 127 for a row of zeros), value =
/// x / scale rounded to nearest, ties to even. The error is at most half a scale.
[[nodiscard]] Int8Rows to_int8(const torch::Tensor& x);

/// values * scales, float32.
[[nodiscard]] torch::Tensor from_int8(const Int8Rows& rows);

/// Whether a weight is held as int8 rows: every matrix is (tables and linear layers), vectors stay float32.
[[nodiscard]] bool fits_int8(const torch::Tensor& weight);

/// What follows the name of a weight in the name of its scales.
inline constexpr const char* kInt8Scale = "_scale";

/// Every matrix as int8 under its name and its scales as <name>_scale, in the order given.
[[nodiscard]] NamedTensors int8_weights(const NamedTensors& weights);

}  // namespace decant::models
