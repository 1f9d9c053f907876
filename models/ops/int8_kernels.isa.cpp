// Compiled once for each instruction set (DECANT_ISA names it), without -fassociative-math: the products with the two
// scales have one order.
#include "models/ops/int8_kernels.h"

#include <cstdint>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // of GCC 12, in its own header, for _mm512_undefined_*
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace decant::models {

namespace DECANT_ISA {

namespace {

constexpr std::int64_t kGroupBytes = kInt8Rows * kInt8Columns;

/// Products of the query with the 16 rows of a block, the 128 that bytes have too much included.
#if defined(__AVX512F__)

/// Each 64-bit lane of a sum holds two halves of one row's product.
__m256i joined(__m512i pairs) { return _mm512_cvtepi64_epi32(_mm512_add_epi32(pairs, _mm512_srli_epi64(pairs, 32))); }

void products(const std::uint8_t* block, std::int64_t groups, const Int8Query& query, std::int32_t* out) {
  __m512i low = _mm512_setzero_si512(), high = low;
  for (std::int64_t g = 0; g < groups; ++g) {
    const auto* bytes = reinterpret_cast<const __m256i*>(block + g * kGroupBytes);
    const __m512i four = _mm512_set1_epi64(*reinterpret_cast<const long long*>(query.words + g * kInt8Columns));
    low = _mm512_add_epi32(low, _mm512_madd_epi16(_mm512_cvtepu8_epi16(_mm256_loadu_si256(bytes)), four));
    high = _mm512_add_epi32(high, _mm512_madd_epi16(_mm512_cvtepu8_epi16(_mm256_loadu_si256(bytes + 1)), four));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), joined(low));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), joined(high));
}

#elif defined(__AVX2__)

__m256i widened(const std::uint8_t* bytes) {
  return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

/// Two sums of four rows each, in which a row has two neighbouring lanes.
__m256i joined(__m256i first, __m256i second) {
  return _mm256_permute4x64_epi64(_mm256_hadd_epi32(first, second), 0b11011000);
}

void products(const std::uint8_t* block, std::int64_t groups, const Int8Query& query, std::int32_t* out) {
  __m256i sums[4] = {};
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::uint8_t* bytes = block + g * kGroupBytes;
    const __m256i four = _mm256_set1_epi64x(*reinterpret_cast<const long long*>(query.words + g * kInt8Columns));
    for (int i = 0; i < 4; ++i) sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(widened(bytes + 16 * i), four));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), joined(sums[0], sums[1]));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), joined(sums[2], sums[3]));
}

#else

void products(const std::uint8_t* block, std::int64_t groups, const Int8Query& query, std::int32_t* out) {
  for (std::int64_t r = 0; r < kInt8Rows; ++r) out[r] = 0;
  for (std::int64_t g = 0; g < groups; ++g)
    for (std::int64_t r = 0; r < kInt8Rows; ++r)
      for (std::int64_t c = 0; c < kInt8Columns; ++c)
        out[r] += block[g * kGroupBytes + r * kInt8Columns + c] * query.words[g * kInt8Columns + c];
}

#endif

void finish(const std::int32_t* sums, std::int64_t rows, const Int8Query& query, const float* scales, float* out) {
  const std::int32_t surplus = 128 * query.sum;
  for (std::int64_t r = 0; r < rows; ++r) out[r] = static_cast<float>(sums[r] - surplus) * query.scale * scales[r];
}

void scores(const std::uint8_t* packed, std::int64_t rows, std::int64_t groups, const Int8Query& query,
            const float* scales, float* out) {
  alignas(64) std::int32_t sums[kInt8Rows];
  for (std::int64_t row = 0; row < rows; row += kInt8Rows) {
    products(packed + row * groups * kInt8Columns, groups, query, sums);
    const std::int64_t count = rows - row < kInt8Rows ? rows - row : kInt8Rows;
    if (count == kInt8Rows)
      finish(sums, kInt8Rows, query, scales + row, out + row);  // of a known length
    else
      finish(sums, count, query, scales + row, out + row);
  }
}

}  // namespace

extern const Int8Functions kInt8Functions{scores};

#if defined(__AVX512F__)

namespace {

constexpr int kBlocks = 4;  // at once: a product takes five cycles, and one can begin in each

/// `Blocks` blocks that follow each other.
template <int Blocks>
[[gnu::target("avx512vnni")]] void vnni_blocks(const std::uint8_t* packed, std::int64_t groups, const Int8Query& query,
                                               const float* scales, float* out) {
  __m512i sums[Blocks];
  for (int b = 0; b < Blocks; ++b) sums[b] = _mm512_set1_epi32(-128 * query.sum);
  for (std::int64_t g = 0; g < groups; ++g) {
    const __m512i four = _mm512_set1_epi32(*reinterpret_cast<const int*>(query.bytes + g * kInt8Columns));
    for (int b = 0; b < Blocks; ++b)
      sums[b] = _mm512_dpbusd_epi32(sums[b], _mm512_loadu_si512(packed + (b * groups + g) * kGroupBytes), four);
  }
  for (int b = 0; b < Blocks; ++b) {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[b]), _mm512_set1_ps(query.scale));
    _mm512_storeu_ps(out + b * kInt8Rows, _mm512_mul_ps(product, _mm512_loadu_ps(scales + b * kInt8Rows)));
  }
}

[[gnu::target("avx512vnni")]] void vnni_scores(const std::uint8_t* packed, std::int64_t rows, std::int64_t groups,
                                               const Int8Query& query, const float* scales, float* out) {
  const std::int64_t block_bytes = groups * kGroupBytes, together = kBlocks * kInt8Rows;
  std::int64_t row = 0;
  for (; row + together <= rows; row += together, packed += kBlocks * block_bytes)
    vnni_blocks<kBlocks>(packed, groups, query, scales + row, out + row);
  for (; row + kInt8Rows <= rows; row += kInt8Rows, packed += block_bytes)
    vnni_blocks<1>(packed, groups, query, scales + row, out + row);
  if (row < rows) scores(packed, rows - row, groups, query, scales + row, out + row);
}

}  // namespace

extern const Int8Functions kInt8VnniFunctions{vnni_scores};

#endif

}  // namespace DECANT_ISA

}  // namespace decant::models
