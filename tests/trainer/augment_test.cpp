// Augmented views: inputs and targets stay those of one sequence, whoever makes the view.
#include "trainer/augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace decant::trainer {
namespace {

using data::PackedBatch;

constexpr std::size_t kRows = 40;

/// Rows of 1 to 12 inputs; event e of row r is item 100 r + e.
PackedBatch make_batch(std::size_t first = 0, std::size_t rows = kRows) {
  PackedBatch batch;
  batch.columns = {{"items", {}}};
  batch.offsets = {0};
  for (std::size_t r = first; r < first + rows; ++r) {
    const auto inputs = static_cast<std::int64_t>(1 + r % 12);
    batch.sample_ids.push_back(static_cast<std::int64_t>(r));
    batch.window_starts.push_back(0);
    for (std::int64_t e = 0; e < inputs; ++e) {
      batch.columns[0].values.push_back(static_cast<std::int64_t>(100 * r) + e);
      batch.target_tokens.push_back(batch.offsets.back() + e);
      batch.target_ids.push_back(static_cast<std::int64_t>(100 * r) + e + 1);
      batch.target_weights.push_back(1);
    }
    batch.offsets.push_back(batch.offsets.back() + inputs);
  }
  return batch;
}

/// A row's events, with the last target.
std::vector<std::int64_t> events(const PackedBatch& batch, std::size_t s) {
  const auto begin = batch.offsets[s], end = batch.offsets[s + 1];
  std::vector<std::int64_t> out(batch.columns[0].values.begin() + begin, batch.columns[0].values.begin() + end);
  out.push_back(batch.target_ids[static_cast<std::size_t>(end - 1)]);
  return out;
}

void expect_whole(const PackedBatch& batch) {
  ASSERT_EQ(batch.targets(), batch.tokens());
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s) {
    ASSERT_GT(batch.offsets[s + 1], batch.offsets[s]) << "row " << s << " has lost its targets";
    for (auto t = batch.offsets[s]; t < batch.offsets[s + 1]; ++t) {
      const auto at = static_cast<std::size_t>(t);
      EXPECT_EQ(batch.target_tokens[at], t);
      if (t + 1 < batch.offsets[s + 1]) {
        EXPECT_EQ(batch.target_ids[at], batch.columns[0].values[at + 1]) << "row " << s;
      }
    }
  }
}

AugmentOptions only(double AugmentOptions::*view, double share) {
  AugmentOptions options;
  options.rate = 1;
  options.crop = options.mask = options.reorder = 0;
  options.*view = share;
  return options;
}

TEST(Augment, ACropIsOnePiece) {
  const auto before = make_batch(), after = augment(before, only(&AugmentOptions::crop, 0.5), 7);
  expect_whole(after);
  std::set<std::int64_t> starts;
  for (std::size_t s = 0; s < kRows; ++s) {
    const auto was = events(before, s), is = events(after, s);
    EXPECT_EQ(is.size(), std::max<std::size_t>(2, static_cast<std::size_t>(std::llround(0.5 * was.size()))));
    for (std::size_t i = 1; i < is.size(); ++i) EXPECT_EQ(is[i], is[i - 1] + 1);
    starts.insert(is[0] - was[0]);
  }
  EXPECT_GT(starts.size(), 3U) << "always the same piece";
}

TEST(Augment, AMaskTakesEventsOut) {
  const auto before = make_batch(), after = augment(before, only(&AugmentOptions::mask, 0.3), 7);
  expect_whole(after);
  for (std::size_t s = 0; s < kRows; ++s) {
    const auto was = events(before, s), is = events(after, s);
    if (was.size() <= 2) {
      EXPECT_EQ(is, was);
      continue;
    }
    EXPECT_EQ(is.size(), std::max<std::size_t>(2, static_cast<std::size_t>(std::llround(0.7 * was.size()))));
    EXPECT_TRUE(std::is_sorted(is.begin(), is.end()));
    EXPECT_TRUE(std::includes(was.begin(), was.end(), is.begin(), is.end()));
  }
}

TEST(Augment, AReorderShufflesOnePieceAndTargetsFollow) {
  const auto before = make_batch(), after = augment(before, only(&AugmentOptions::reorder, 0.4), 7);
  expect_whole(after);
  int moved = 0;
  for (std::size_t s = 0; s < kRows; ++s) {
    const auto was = events(before, s), is = events(after, s);
    EXPECT_TRUE(std::is_permutation(was.begin(), was.end(), is.begin(), is.end()));
    std::size_t first = 0, last = is.size();
    while (first < is.size() && was[first] == is[first]) ++first;
    while (last > first && was[last - 1] == is[last - 1]) --last;
    EXPECT_LE(last - first, std::max<std::size_t>(2, static_cast<std::size_t>(std::llround(0.4 * was.size()))));
    moved += last > first;
  }
  EXPECT_GT(moved, 10);
}

TEST(Augment, IsAFunctionOfStepAndRowNotOfTheBatch) {
  AugmentOptions options;
  options.rate = 0.5;
  const auto whole = augment(make_batch(), options, 11), part = augment(make_batch(20, 20), options, 11);
  int changed = 0;
  for (std::size_t s = 0; s < 20; ++s) EXPECT_EQ(events(part, s), events(whole, 20 + s)) << "another rank";
  const auto next = augment(make_batch(), options, 12), before = make_batch();
  int differs = 0;
  for (std::size_t s = 0; s < kRows; ++s) {
    changed += events(whole, s) != events(before, s);
    differs += events(whole, s) != events(next, s);
  }
  EXPECT_GT(differs, 5) << "the same views in every step";
  EXPECT_GT(changed, 5);
  EXPECT_LT(changed, 35) << "a rate of a half";
  options.rate = 0;
  const auto none = augment(before, options, 11);
  EXPECT_EQ(none.columns[0].values, before.columns[0].values);
  EXPECT_EQ(none.target_ids, before.target_ids);
}

}  // namespace
}  // namespace decant::trainer
