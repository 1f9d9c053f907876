// Compiled once for each instruction set (DECANT_ISA names it). Loops are written for the compiler to vectorise.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "models/ops/tile_kernels.h"

#define DECANT_JOIN_(a, b) a##b
#define DECANT_JOIN(a, b) DECANT_JOIN_(a, b)
#define DECANT_ISA_NAMESPACE DECANT_JOIN(isa_, DECANT_ISA)

namespace decant::models::DECANT_ISA_NAMESPACE {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// exp for x <= 0 (and a little above): 2 ulp near 0, 2e-6 relative at -87; 0 below -87. NaN stays NaN.
inline float fast_exp(float x) {
  const float bounded = x < -87.0f ? -87.0f : (x > 80.0f ? 80.0f : x);
  const float scaled = bounded * 1.44269504088896341f;
  const auto n = static_cast<std::int32_t>(scaled + 128.5f) - 128;
  const float r = bounded - static_cast<float>(n) * 0.693147180559945309f;
  float p = 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const std::int32_t bits = (n + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.0f ? 0.0f : p * power;
}

/// Denormals are a hundred times slower than zeros and as good: off for the life of this object.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040u); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#endif
};

float row_max(const float* row, std::int64_t cols) {
  float best = -kInfinity;
#pragma omp simd reduction(max : best)
  for (std::int64_t c = 0; c < cols; ++c) best = row[c] > best ? row[c] : best;
  return best;
}

void sums_of_one(const float* row, std::int64_t cols, float max, float inv_t, float* out) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < cols; ++c) sum += fast_exp((row[c] - max) * inv_t);
  *out = sum;
}

/// Temperatures 1 and 2: one exponential, one square.
void sums_of_two(const float* row, std::int64_t cols, float max, float* out) {
  float one = 0, two = 0;
#pragma omp simd reduction(+ : one, two)
  for (std::int64_t c = 0; c < cols; ++c) {
    const float e = fast_exp((row[c] - max) * 0.5f);
    two += e;
    one += e * e;
  }
  out[0] = one;
  out[1] = two;
}

/// Temperatures 1, 1.5, 2, 3, 4, 6, 10 all divide 60: one exponential and ten products give all seven.
void sums_of_ladder(const float* row, std::int64_t cols, float max, float* out) {
  float s1 = 0, s15 = 0, s2 = 0, s3 = 0, s4 = 0, s6 = 0, s10 = 0;
#pragma omp simd reduction(+ : s1, s15, s2, s3, s4, s6, s10)
  for (std::int64_t c = 0; c < cols; ++c) {
    const float e1 = fast_exp((row[c] - max) * (1.0f / 60.0f));
    const float e2 = e1 * e1, e4 = e2 * e2, e5 = e4 * e1, e6 = e4 * e2, e10 = e5 * e5, e15 = e10 * e5;
    const float e20 = e10 * e10, e30 = e15 * e15, e40 = e20 * e20, e60 = e30 * e30;
    s10 += e6;
    s6 += e10;
    s4 += e15;
    s3 += e20;
    s2 += e30;
    s15 += e40;
    s1 += e60;
  }
  out[0] = s1, out[1] = s15, out[2] = s2, out[3] = s3, out[4] = s4, out[5] = s6, out[6] = s10;
}

bool same(const float* inv_t, std::int64_t temps, const float* expected, std::int64_t count) {
  if (temps != count) return false;
  for (std::int64_t t = 0; t < count; ++t)
    if (std::fabs(inv_t[t] * expected[t] - 1.0f) > 1e-6f) return false;
  return true;
}

constexpr float kTwo[] = {1, 2};
constexpr float kLadder[] = {1, 1.5f, 2, 3, 4, 6, 10};

void accumulate(const float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t, std::int64_t temps,
                float* max, double* sums) {
  const FlushDenormals guard;
  const bool two = same(inv_t, temps, kTwo, 2), ladder = same(inv_t, temps, kLadder, 7);
  float part[64];
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = tile + r * cols;
    double* total = sums + r * temps;
    const float best = row_max(row, cols);
    if (best > max[r]) {
      if (max[r] != -kInfinity)
        for (std::int64_t t = 0; t < temps; ++t)
          total[t] *=
              std::exp((static_cast<double>(max[r]) - static_cast<double>(best)) * static_cast<double>(inv_t[t]));
      max[r] = best;
    }
    if (max[r] == -kInfinity) continue;
    for (std::int64_t done = 0; done < temps;) {
      const std::int64_t count = two || ladder ? temps : (temps - done < 64 ? temps - done : 64);
      if (two)
        sums_of_two(row, cols, max[r], part);
      else if (ladder)
        sums_of_ladder(row, cols, max[r], part);
      else
        for (std::int64_t t = 0; t < count; ++t) sums_of_one(row, cols, max[r], inv_t[done + t], part + t);
      for (std::int64_t t = 0; t < count; ++t) total[done + t] += static_cast<double>(part[t]);
      done += count;
    }
  }
}

void grad_of_two(float* row, std::int64_t cols, const float* lse, const float* grad) {
  const float base = lse[0], first = grad[0];
  const float second = 0.5f * grad[1] * std::exp(0.5f * lse[0] - lse[1]);
#pragma omp simd
  for (std::int64_t c = 0; c < cols; ++c) {
    const float e = fast_exp((row[c] - base) * 0.5f);
    row[c] = e * (first * e + second);
  }
}

void grad_of_one(float* row, std::int64_t cols, float inv_t, float lse, float grad) {
  const float scale = grad * inv_t;
#pragma omp simd
  for (std::int64_t c = 0; c < cols; ++c) row[c] = scale * fast_exp(row[c] * inv_t - lse);
}

/// Any temperatures: strips that stay in the first-level cache.
void grad_of_many(float* row, std::int64_t cols, const float* inv_t, std::int64_t temps, const float* lse,
                  const float* grad) {
  constexpr std::int64_t kStrip = 512;
  float sum[kStrip];
  for (std::int64_t begin = 0; begin < cols; begin += kStrip) {
    const std::int64_t width = cols - begin < kStrip ? cols - begin : kStrip;
    float* strip = row + begin;
    for (std::int64_t c = 0; c < width; ++c) sum[c] = 0;
    for (std::int64_t t = 0; t < temps; ++t) {
      const float scale = grad[t] * inv_t[t], at = lse[t], inv = inv_t[t];
      if (scale == 0 || at == -kInfinity) continue;
#pragma omp simd
      for (std::int64_t c = 0; c < width; ++c) sum[c] += scale * fast_exp(strip[c] * inv - at);
    }
    for (std::int64_t c = 0; c < width; ++c) strip[c] = sum[c];
  }
}

void softmax_grad(float* tile, std::int64_t rows, std::int64_t cols, const float* inv_t, std::int64_t temps,
                  const float* lse, const float* grad) {
  const FlushDenormals guard;
  const bool two = same(inv_t, temps, kTwo, 2);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = tile + r * cols;
    const float* l = lse + r * temps;
    const float* g = grad + r * temps;
    if (two && l[0] != -kInfinity)
      grad_of_two(row, cols, l, g);
    else if (temps == 1 && l[0] != -kInfinity)
      grad_of_one(row, cols, inv_t[0], l[0], g[0]);
    else
      grad_of_many(row, cols, inv_t, temps, l, g);
  }
}

void count(const float* tile, std::int64_t rows, std::int64_t cols, const float* threshold, std::int64_t* greater,
           std::int64_t* equal, std::int64_t* broken) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = tile + r * cols;
    const float at = threshold[r];
    std::int32_t above = 0, same = 0, nan = 0;
#pragma omp simd reduction(+ : above, same, nan)
    for (std::int64_t c = 0; c < cols; ++c) {
      above += row[c] > at;
      same += row[c] == at;
      nan += row[c] != row[c];
    }
    greater[r] += above;
    equal[r] += same;
    broken[r] += nan;
  }
}

std::int64_t above(const float* row, std::int64_t cols, float threshold, std::int32_t* out) {
  constexpr std::int64_t kStrip = 64;
  std::int64_t found = 0;
  for (std::int64_t begin = 0; begin < cols; begin += kStrip) {
    const std::int64_t end = begin + kStrip < cols ? begin + kStrip : cols;
    std::int32_t any = 0;
#pragma omp simd reduction(+ : any)
    for (std::int64_t c = begin; c < end; ++c) any += row[c] > threshold;
    if (any == 0) continue;
    for (std::int64_t c = begin; c < end; ++c)
      if (row[c] > threshold) out[found++] = static_cast<std::int32_t>(c);
  }
  return found;
}

}  // namespace

extern const TileFunctions kTileFunctions{accumulate, softmax_grad, count, above};

}  // namespace decant::models::DECANT_ISA_NAMESPACE
