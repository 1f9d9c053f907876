#include "base/random.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace decant::base {
namespace {

TEST(Mixers, ArePinned) {
  EXPECT_EQ(mix32(0), 0u);
  EXPECT_EQ(mix32(1), 0x514e28b7u);
  EXPECT_EQ(mix32(0xffffffffu), 0x81f16f39u);
  EXPECT_EQ(mix64(0), 0xe220a8397b1dcdafull);                      // SplitMix64's first output from seed 0
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ull), 0x6e789e6aa1b965f4ull);  // and its second
}

TEST(Keys, DifferInEveryArgumentAndInOrder) {
  const std::set<std::uint64_t> keys{key_of(1, 2, 3), key_of(1, 3, 2), key_of(2, 1, 3), key_of(1, 2),
                                     key_of(1, 2, 4), key_of(1),       key_of(0, 2, 3), key_of(1, 2, 3, 0)};
  EXPECT_EQ(keys.size(), 8u);
  static_assert(key_of(1, 2, 3) == key_of(1, 2, 3));
}

TEST(Draws, AreUniformOverSixteenBins) {
  std::vector<int> bins(16);
  constexpr int kDraws = 160'000;
  for (int i = 0; i < kDraws; ++i) ++bins[below(draw(key_of(7, 1), i), bins.size())];
  double chi = 0;
  for (const int count : bins) chi += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
  EXPECT_LT(chi, 37.7);  // 15 degrees of freedom, one in a thousand
}

TEST(Draws, UnitIsBelowOne) {
  EXPECT_EQ(unit(0), 0.0);
  EXPECT_LT(unit(~0ull), 1.0);
  EXPECT_EQ(unit(1ull << 63), 0.5);
}

TEST(Draws, BelowStaysBelow) {
  EXPECT_EQ(below(~0ull, 1), 0u);
  EXPECT_EQ(below(~0ull, 3), 2u);
  EXPECT_EQ(below(0, 3), 0u);
  EXPECT_EQ(below(~0ull, ~0ull), ~0ull - 1);
}

TEST(Permutation, IsABijectionForManySizes) {
  std::vector<std::uint64_t> sizes{255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 65535, 65536, 65537, 100'003};
  for (std::uint64_t size = 1; size <= 130; ++size) sizes.push_back(size);
  for (const std::uint64_t size : sizes)
    for (const std::uint64_t key : {0ull, 1ull, ~0ull}) {
      const Permutation permutation(size, key);
      ASSERT_EQ(permutation.size(), size);
      std::vector<bool> hit(size);
      for (std::uint64_t i = 0; i < size; ++i) {
        const std::uint64_t at = permutation(i);
        ASSERT_LT(at, size);
        ASSERT_FALSE(hit[at]) << "size " << size << " key " << key << " index " << i;
        hit[at] = true;
      }
    }
}

TEST(Permutation, StaysInsideAnEnormousRange) {
  const std::uint64_t size = (1ull << 62) + 5;  // needs all 32 bits of a half
  const Permutation permutation(size, 3);
  std::set<std::uint64_t> seen;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_LT(permutation(i), size);
    seen.insert(permutation(i));
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(Permutation, KeysGiveDifferentOrders) {
  const Permutation one(1000, 1), two(1000, 2);
  int same = 0, fixed = 0;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    same += one(i) == two(i);
    fixed += one(i) == i;
  }
  EXPECT_LT(same, 12);  // one is expected
  EXPECT_LT(fixed, 12);
}

}  // namespace
}  // namespace decant::base
