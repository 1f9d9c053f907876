// Randomness as a function: integer hashes keyed by what a draw belongs to (seed, step, sample, site), never a state.
// Mixers: MurmurHash3's 32-bit finaliser and SplitMix64 (Steele, Lea, Flood 2014).
#pragma once

#include <cstdint>

namespace decant::base {

/// Bijective 32-bit mixer. The tensor form in models/ops/keyed.h gives the same bits.
[[nodiscard]] constexpr std::uint32_t mix32(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  x ^= x >> 16;
  return x;
}

/// Bijective 64-bit mixer.
[[nodiscard]] constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// Folds further words into a key: key_of(seed, step, sample) differs in every argument and in their order.
[[nodiscard]] constexpr std::uint64_t key_of(std::uint64_t first) { return mix64(first); }
template <class... Rest>
[[nodiscard]] constexpr std::uint64_t key_of(std::uint64_t first, std::uint64_t second, Rest... rest) {
  return key_of(mix64(first) ^ second, static_cast<std::uint64_t>(rest)...);
}

/// Draw `index` of the stream `key`, uniform over 64 bits.
[[nodiscard]] constexpr std::uint64_t draw(std::uint64_t key, std::uint64_t index) { return mix64(key ^ mix64(index)); }

/// Uniform in [0, 1) with 53 bits.
[[nodiscard]] constexpr double unit(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

/// Uniform in [0, n) by multiply-shift; n > 0. The bias is below n / 2^64.
[[nodiscard]] constexpr std::uint64_t below(std::uint64_t bits, std::uint64_t n) {
  return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits) * n) >> 64);
}

/// A pseudo-random permutation of [0, size) with random access and no storage: a four-round Feistel network over the
/// next even power of two, cycle-walked (Black, Rogaway 2002). REQUIRES: index < size.
class Permutation {
 public:
  Permutation(std::uint64_t size, std::uint64_t key) : size_(size), key_(key) {
    while (half_ < 32 && (std::uint64_t{1} << (2 * half_)) < size) ++half_;
  }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint64_t operator()(std::uint64_t index) const {
    do index = rounds(index);
    while (index >= size_);
    return index;
  }

 private:
  [[nodiscard]] std::uint64_t rounds(std::uint64_t x) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_) - 1;
    std::uint64_t left = x >> half_, right = x & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (draw(key_ + round, right) & mask);
      left = right;
      right = next;
    }
    return (left << half_) | right;
  }

  std::uint64_t size_, key_;
  unsigned half_ = 1;
};

}  // namespace decant::base
