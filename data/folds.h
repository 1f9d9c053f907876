// Rows divided into folds, so that a teacher can be trained without the rows that it labels.
#pragma once

#include <cstdint>

#include "base/random.h"

namespace decant::data {

/// Fold of a row, uniform in [0, count): a function of seed and row, so rows that are added move no other. count > 0.
[[nodiscard]] constexpr std::int64_t fold_of(std::uint64_t seed, std::int64_t row, std::int64_t count) {
  constexpr std::uint64_t kFoldSite = 0xf01d;
  return static_cast<std::int64_t>(base::below(
      base::draw(base::key_of(seed, kFoldSite), static_cast<std::uint64_t>(row)), static_cast<std::uint64_t>(count)));
}

/// One of `count` folds; with count 0 the one that has no row.
struct Fold {
  std::uint64_t seed = 0;
  std::int64_t index = 0, count = 0;
  [[nodiscard]] constexpr bool has(std::int64_t row) const { return count > 0 && fold_of(seed, row, count) == index; }
};

}  // namespace decant::data
