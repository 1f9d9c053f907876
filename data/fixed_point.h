// Logarithm, exponential and power in integers: the same bits on every machine and under every compiler option, which
// std::pow does not promise.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace decant::data {

/// Bits after the point.
inline constexpr unsigned kFraction = 32;

/// floor(2^32 * log2(x)), within a few units. REQUIRES: 1 <= x < 2^62.
[[nodiscard]] constexpr std::uint64_t fixed_log2(std::uint64_t x) {
  const auto whole = static_cast<unsigned>(std::bit_width(x)) - 1;
  std::uint64_t result = static_cast<std::uint64_t>(whole) << kFraction;
  std::uint64_t mantissa = x << (62 - whole);  // in [1, 2), 62 bits after the point
  for (unsigned bit = kFraction; bit-- > 0;) {
    mantissa = static_cast<std::uint64_t>((static_cast<unsigned __int128>(mantissa) * mantissa) >> 62);
    if (mantissa >> 63 == 0) continue;
    mantissa >>= 1;
    result |= std::uint64_t{1} << bit;
  }
  return result;
}

/// floor(sqrt(x)), by bits.
[[nodiscard]] constexpr std::uint64_t integer_root(unsigned __int128 x) {
  unsigned __int128 root = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const unsigned __int128 next = root | (static_cast<unsigned __int128>(1) << bit);
    if (next * next <= x) root = next;
  }
  return static_cast<std::uint64_t>(root);
}

/// 2^62 * 2^(-2^(b - 32)) for bit b of a fraction: each the root of the one above.
inline constexpr std::array<std::uint64_t, kFraction> kBitFactors = [] {
  std::array<std::uint64_t, kFraction> factors{};
  std::uint64_t factor = std::uint64_t{1} << 61;  // 2^-1
  for (unsigned bit = kFraction; bit-- > 0;) {
    factor = integer_root(static_cast<unsigned __int128>(factor) << 62);
    factors[bit] = factor;
  }
  return factors;
}();

/// 2^62 * 2^(-y / 2^32), within a few units.
[[nodiscard]] constexpr std::uint64_t fixed_exp2_negative(std::uint64_t y) {
  std::uint64_t result = std::uint64_t{1} << 62;
  for (unsigned bit = 0; bit < kFraction; ++bit) {
    if (y >> bit & 1)
      result = static_cast<std::uint64_t>((static_cast<unsigned __int128>(result) * kBitFactors[bit]) >> 62);
  }
  const std::uint64_t whole = y >> kFraction;
  return whole < 64 ? result >> whole : 0;
}

}  // namespace decant::data
