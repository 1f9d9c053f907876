// Vectors of one instruction set, for *.isa.cpp only: GCC's and Clang's vector types, so that every Isa (and a machine
// that is not x86) shares the code. Nothing here has external linkage: the linker would keep one copy of an inline
// function, perhaps the one that an older processor cannot run.
#pragma once

#include <cstdint>
#include <utility>  // integer_sequence, a type alone

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#ifndef DECANT_ISA
#error "compiled once for each Isa, with -DDECANT_ISA"
#endif

namespace decant::models::DECANT_ISA {

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

using Size = std::int64_t;
using Float [[gnu::vector_size(kWidth * 4)]] = float;
using Word [[gnu::vector_size(kWidth * 4)]] = std::uint32_t;
using Integer [[gnu::vector_size(kWidth * 4)]] = std::int32_t;
using Unaligned [[gnu::vector_size(kWidth * 4), gnu::aligned(4), gnu::may_alias]] = float;
using Lanes = std::make_integer_sequence<int, kWidth>;

#define DECANT_INLINE [[gnu::always_inline]] inline

/// The next multiple of a vector's width.
DECANT_INLINE Size padded(Size n) { return (n + kWidth - 1) / kWidth * kWidth; }

DECANT_INLINE Float splat(float x) { return Float{} + x; }
template <int... I>
DECANT_INLINE Word lanes_from(std::uint32_t first, std::integer_sequence<int, I...>) {
  return Word{I...} + first;
}
/// first, first + 1, ...
DECANT_INLINE Word lanes(Size first) { return lanes_from(static_cast<std::uint32_t>(first), Lanes{}); }

DECANT_INLINE Float load(const float* p) { return *reinterpret_cast<const Unaligned*>(p); }
DECANT_INLINE void store(float* p, Float v) { *reinterpret_cast<Unaligned*>(p) = v; }

/// The first n values, n > 0 (all lanes when it is more), and zeros. Nothing beyond them is touched.
DECANT_INLINE Float load_part(const float* p, Size n) {
  if (n >= kWidth) return load(p);
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(__AVX2__)
  return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(lanes(0) < static_cast<std::uint32_t>(n)));
#else
  Float v = {};
  for (Size i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}

DECANT_INLINE void store_part(float* p, Float v, Size n) {
  if (n >= kWidth) return store(p, v);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#elif defined(__AVX2__)
  _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(lanes(0) < static_cast<std::uint32_t>(n)), v);
#else
  for (Size i = 0; i < n; ++i) p[i] = v[i];
#endif
}

template <int Distance, int... I>
DECANT_INLINE Float exchanged(Float v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (I ^ Distance)...);
}

/// Over all lanes, by halves.
template <int Distance = kWidth / 2>
DECANT_INLINE float sum(Float v) {
  v += exchanged<Distance>(v, Lanes{});
  if constexpr (Distance == 1) {
    return v[0];
  } else {
    return sum<Distance / 2>(v);
  }
}

template <int Distance = kWidth / 2>
DECANT_INLINE float largest(Float v) {
  const Float other = exchanged<Distance>(v, Lanes{});
  v = other > v ? other : v;
  if constexpr (Distance == 1) {
    return v[0];
  } else {
    return largest<Distance / 2>(v);
  }
}

/// The lower (0) or upper (1) halves of a and b, interleaved.
template <int Half, int... I>
DECANT_INLINE Float zip(Float a, Float b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (Half * (kWidth / 2) + I / 2 + (I % 2) * kWidth)...);
}

/// kWidth x kWidth in place: log2(kWidth) perfect shuffles of the rows.
template <int Stage = kWidth>
DECANT_INLINE void transpose_square(Float (&rows)[kWidth]) {
  if constexpr (Stage > 1) {
    Float next[kWidth];
    for (int i = 0; i < kWidth / 2; ++i) {
      next[2 * i] = zip<0>(rows[i], rows[i + kWidth / 2], Lanes{});
      next[2 * i + 1] = zip<1>(rows[i], rows[i + kWidth / 2], Lanes{});
    }
    for (int i = 0; i < kWidth; ++i) rows[i] = next[i];
    transpose_square<Stage / 2>(rows);
  }
}

/// base::mix32, of words or of vectors of them.
template <class T>
DECANT_INLINE T mix32(T x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  x ^= x >> 16;
  return x;
}

/// 2^x for x <= 0 (a rounding above is fine); 2^-126 below it. Relative error 2e-7; NaN stays NaN.
DECANT_INLINE Float exp2_negative(Float x) {
  x = x < -126.0f ? splat(-126.0f) : x;
  const Integer whole = __builtin_convertvector(x - 0.5f, Integer);
  const Float f = x - __builtin_convertvector(whole, Float);
  Float p = f * 1.535336188319500e-4f + 1.339887440266574e-3f;  // Cephes exp2f
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  return p * reinterpret_cast<Float>((whole + 127) << 23);
}

}  // namespace

}  // namespace decant::models::DECANT_ISA
