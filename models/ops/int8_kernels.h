// Raw CPU kernels of the products of an int8 row with many, compiled once for each instruction set. No torch here.
#pragma once

#include <cstdint>

#include "models/ops/isa.h"

namespace decant::models {

/// How rows lie in memory: blocks of 16 rows, in each the groups of 4 columns one after the other, in a group 4 bytes a
/// row. A byte is the value plus 128. Columns and rows are filled up with 128, which is zero.
inline constexpr std::int64_t kInt8Rows = 16, kInt8Columns = 4;

struct Int8Query {
  const std::int8_t* bytes;   // [groups * 4]
  const std::int16_t* words;  // the same values
  std::int32_t sum;           // of the values
  float scale;
};

struct Int8Functions {
  /// out[i] = float(<query, row i>) * query.scale * scales[i] for i < rows, multiplied in this order. The product is
  /// exact, so every set gives the same bits. REQUIRES: groups * 4 * 128 * 255 fits int32; room for whole blocks at
  /// `packed`.
  void (*scores)(const std::uint8_t* packed, std::int64_t rows, std::int64_t groups, const Int8Query& query,
                 const float* scales, float* out);
};

/// Of one set; kAvx512 uses VNNI where the processor has it.
[[nodiscard]] const Int8Functions& int8_functions(Isa isa = best_isa());

/// "avx512-vnni", or the set's name.
[[nodiscard]] const char* int8_kernel_name();

}  // namespace decant::models
