#include "data/sampler.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

using Ints = std::vector<std::int64_t>;
constexpr std::int64_t kMaxLength = 6;

BatchOptions batches_of(std::int64_t sequences, std::int64_t tokens = 0, std::int64_t accumulate = 1,
                        std::int64_t rank_tokens = 0) {
  BatchOptions options;
  options.sequences = sequences;
  options.tokens = tokens;
  options.accumulate = accumulate;
  options.rank_tokens = rank_tokens;
  return options;
}

/// Plans from `at` to the end of its epoch.
std::vector<StepPlan> plans_of(const Sampler& sampler, Position at) {
  std::vector<StepPlan> plans;
  do {
    plans.push_back(sampler.plan(at));
    at = plans.back().next;
  } while (!plans.back().ends_epoch);
  return plans;
}

Ints rows_of(const std::vector<StepPlan>& plans) {
  Ints rows;
  for (const StepPlan& plan : plans)
    for (const Ints& cut : plan.cuts) rows.insert(rows.end(), cut.begin(), cut.end());
  return rows;
}

Ints sorted(Ints rows) {
  std::sort(rows.begin(), rows.end());
  return rows;
}

class SamplerTest : public testing::Test {
 protected:
  /// A dataset of so many ragged rows, kept open.
  const Dataset& open(std::size_t rows, std::size_t cache_bytes = std::size_t{1} << 30) {
    write_rows(folder_ / "dataset", ragged_rows(rows));
    dataset_ = std::make_unique<Dataset>(folder_ / "dataset", cache_bytes);
    return *dataset_;
  }
  [[nodiscard]] Ints rows_with_targets() const {
    Ints rows;
    for (const std::int64_t row : all_rows(*dataset_))
      if (dataset_->training_targets(row, kMaxLength) > 0) rows.push_back(row);
    return rows;
  }
  [[nodiscard]] std::int64_t targets(std::int64_t row) const { return dataset_->training_targets(row, kMaxLength); }
  [[nodiscard]] std::int64_t tokens(const Ints& rows) const {
    return std::accumulate(rows.begin(), rows.end(), std::int64_t{0},
                           [&](auto sum, auto row) { return sum + targets(row); });
  }

  TempFolder folder_;
  std::unique_ptr<Dataset> dataset_;
};

TEST_F(SamplerTest, FoldsDivideTheRows) {
  open(5000);
  constexpr std::int64_t kFolds = 3;
  Ints all;
  for (std::int64_t fold = 0; fold < kFolds; ++fold) {
    const Fold left_out{11, fold, kFolds};
    const Sampler sampler(*dataset_, batches_of(64), kMaxLength, 1, left_out);
    const auto plans = plans_of(sampler, {});
    EXPECT_EQ(static_cast<std::int64_t>(plans.size()), sampler.steps(0));
    Ints expected, left;
    for (const auto row : rows_with_targets()) (left_out.has(row) ? left : expected).push_back(row);
    EXPECT_EQ(sorted(rows_of(plans)), expected);
    EXPECT_NEAR(static_cast<double>(left.size()), static_cast<double>(rows_with_targets().size()) / kFolds, 150);
    all.insert(all.end(), left.begin(), left.end());
  }
  EXPECT_EQ(sorted(all), rows_with_targets());
  EXPECT_FALSE(Fold{}.has(0));
}

TEST_F(SamplerTest, NothingIsLeftWithoutTheOnlyRow) {
  write_rows(folder_ / "dataset", {{0, 1, 2, 3}});
  dataset_ = std::make_unique<Dataset>(folder_ / "dataset");
  const auto fold = fold_of(1, 0, 2);
  EXPECT_NO_THROW(Sampler(*dataset_, batches_of(4), kMaxLength, 1, {1, 1 - fold, 2}));
  try {
    const Sampler sampler(*dataset_, batches_of(4), kMaxLength, 1, {1, fold, 2});
    FAIL() << "a sampler without rows";
  } catch (const base::ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("outside of fold " + std::to_string(fold) + " of 2"), std::string::npos);
  }
}

TEST_F(SamplerTest, TheOrderIsAPermutation) {
  for (const std::size_t rows : {1, 2, 4095, 4096, 4097, 3 * 4096, 3 * 4096 + 5, 5 * 4096 - 1}) {
    for (const std::size_t cache_bytes : {std::size_t{0}, std::size_t{220'000}, std::size_t{1} << 30}) {
      if (rows < 3)
        write_rows(folder_ / "dataset", std::vector<std::vector<std::uint32_t>>(rows, {0, 1, 2, 3}));
      else
        write_rows(folder_ / "dataset", ragged_rows(rows));
      const Dataset dataset(folder_ / "dataset", cache_bytes);
      const Sampler sampler(dataset, batches_of(10), kMaxLength, 5);
      for (const std::int64_t epoch : {0, 1, 2, 3, 4}) {
        Ints seen;
        for (std::int64_t i = 0; i < dataset.info().rows; ++i) seen.push_back(sampler.row_at(epoch, i));
        EXPECT_EQ(sorted(seen), all_rows(dataset)) << rows << " rows, cache " << cache_bytes << ", epoch " << epoch;
      }
    }
  }
}

TEST_F(SamplerTest, EachRowWithTargetsComesOnceAnEpoch) {
  open(5000, 0);
  for (const BatchOptions& options :
       {batches_of(128), batches_of(7, 20), batches_of(1), batches_of(100'000), batches_of(64, 90, 3)}) {
    const Sampler sampler(*dataset_, options, kMaxLength, 1);
    for (const std::int64_t epoch : {0, 7}) {
      const std::vector<StepPlan> plans = plans_of(sampler, {epoch, 0});
      EXPECT_EQ(sorted(rows_of(plans)), rows_with_targets());
      EXPECT_EQ(sampler.steps(epoch), static_cast<std::int64_t>(plans.size()));
      for (const StepPlan& plan : plans) {
        ASSERT_FALSE(plan.cuts.empty());
        for (const Ints& cut : plan.cuts) ASSERT_FALSE(cut.empty());
        EXPECT_EQ(plan.ends_epoch, &plan == &plans.back());
      }
      EXPECT_EQ(plans.back().next, (Position{epoch + 1, 0}));
    }
  }
}

TEST_F(SamplerTest, SeedAndEpochMakeTheOrder) {
  open(3000);
  const auto order = [&](std::uint64_t seed, std::int64_t epoch) {
    return rows_of(plans_of(Sampler(*dataset_, batches_of(50), kMaxLength, seed), {epoch, 0}));
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 1), order(2, 0));
}

TEST_F(SamplerTest, TheOrderIsShuffled) {
  open(4000);
  const Sampler sampler(*dataset_, batches_of(50), kMaxLength, 3);
  // Neighbours of the order are neighbours of the file no more often than chance has it (2 in 4000 pairs).
  int neighbours = 0;
  double displacement = 0;
  for (std::int64_t i = 0; i + 1 < 4000; ++i) {
    neighbours += std::abs(sampler.row_at(0, i) - sampler.row_at(0, i + 1)) == 1;
    displacement += static_cast<double>(std::abs(sampler.row_at(0, i) - i)) / 4000;
  }
  EXPECT_LT(neighbours, 20);
  EXPECT_NEAR(displacement, 4000.0 / 3, 100);  // the mean of |x - y| for two uniform numbers
}

TEST_F(SamplerTest, GroupsReadEachBlockOnce) {
  // 9 blocks and a piece, two blocks fit: the order stays inside a group until it is done.
  open(9 * 4096 + 100, 220'000);
  ASSERT_EQ(dataset_->cached_rows(), 2 * 4096);
  const Sampler sampler(*dataset_, batches_of(50), kMaxLength, 11);
  std::set<std::int64_t> places;
  for (std::int64_t epoch = 0; epoch < 12; ++epoch) {
    std::vector<std::set<std::int64_t>> groups(1);
    std::int64_t switches = 0;
    for (std::int64_t i = 0; i < dataset_->info().rows; ++i) {
      const std::int64_t block = sampler.row_at(epoch, i) / 4096;
      if (block == 9) places.insert(static_cast<std::int64_t>(groups.size()));
      if (groups.back().count(block) == 0 && groups.back().size() == 2) {
        groups.emplace_back();
        ++switches;
      }
      groups.back().insert(block);
    }
    EXPECT_EQ(switches, 4) << "epoch " << epoch;  // 10 blocks in 5 groups
    EXPECT_EQ(groups.size(), 5U);
  }
  EXPECT_GT(places.size(), 2U) << "the short block is always in the same group";
}

TEST_F(SamplerTest, CutsEndAtTheirSequences) {
  open(1000);
  const std::vector<StepPlan> plans = plans_of(Sampler(*dataset_, batches_of(64), kMaxLength, 1), {});
  for (std::size_t i = 0; i + 1 < plans.size(); ++i) {
    ASSERT_EQ(plans[i].cuts.size(), 1U);
    EXPECT_EQ(plans[i].cuts[0].size(), 64U);
  }
}

TEST_F(SamplerTest, CutsEndAtTheirTokens) {
  open(1000);
  constexpr std::int64_t kTokens = 20;
  const std::vector<StepPlan> plans = plans_of(Sampler(*dataset_, batches_of(1000, kTokens), kMaxLength, 1), {});
  for (std::size_t i = 0; i < plans.size(); ++i) {
    EXPECT_LE(tokens(plans[i].cuts[0]), kTokens);
    // The next row would not have fitted.
    const std::int64_t next = i + 1 < plans.size() ? targets(plans[i + 1].cuts[0][0]) : kTokens;
    EXPECT_GT(tokens(plans[i].cuts[0]) + next, kTokens);
  }
  EXPECT_GT(plans.size(), 100U);
}

TEST_F(SamplerTest, ALongerRowMakesACutOfItsOwn) {
  open(200);
  const std::vector<StepPlan> plans = plans_of(Sampler(*dataset_, batches_of(1000, 3), kMaxLength, 1), {});
  bool longer = false;
  for (const StepPlan& plan : plans) {
    if (tokens(plan.cuts[0]) <= 3) continue;
    longer = true;
    EXPECT_EQ(plan.cuts[0].size(), 1U);
  }
  EXPECT_TRUE(longer);
  EXPECT_EQ(sorted(rows_of(plans)), rows_with_targets());
}

TEST_F(SamplerTest, AccumulationJoinsCutsAndEndsWithTheEpoch) {
  open(1000);
  const std::vector<StepPlan> one = plans_of(Sampler(*dataset_, batches_of(64, 100), kMaxLength, 1), {});
  const std::vector<StepPlan> three = plans_of(Sampler(*dataset_, batches_of(64, 100, 3), kMaxLength, 1), {});
  EXPECT_EQ(three.size(), (one.size() + 2) / 3);
  EXPECT_EQ(rows_of(one), rows_of(three));
  for (std::size_t i = 0; i < three.size(); ++i) {
    const std::size_t left = std::min<std::size_t>(3, one.size() - 3 * i);
    ASSERT_EQ(three[i].cuts.size(), left);
    for (std::size_t c = 0; c < left; ++c) EXPECT_EQ(three[i].cuts[c], one[3 * i + c].cuts[0]);
    EXPECT_EQ(three[i].next, one[3 * i + left - 1].next);
  }
}

TEST_F(SamplerTest, ResumesFromAnyPosition) {
  open(700, 0);
  const Sampler sampler(*dataset_, batches_of(16, 40, 2), kMaxLength, 9);
  std::vector<StepPlan> plans = plans_of(sampler, {});
  const std::vector<StepPlan> second = plans_of(sampler, {1, 0});
  plans.insert(plans.end(), second.begin(), second.end());
  Position at;
  for (const StepPlan& plan : plans) {
    // A sampler of another process, at the position that was stored.
    const StepPlan again = Sampler(*dataset_, batches_of(16, 40, 2), kMaxLength, 9).plan(at);
    EXPECT_EQ(again.cuts, plan.cuts);
    EXPECT_EQ(again.next, plan.next);
    EXPECT_EQ(again.ends_epoch, plan.ends_epoch);
    at = plan.next;
  }
}

TEST_F(SamplerTest, EveryRowOfTheOrderIsAPosition) {
  open(100);
  const Sampler sampler(*dataset_, batches_of(1000), kMaxLength, 9);
  for (std::int64_t from = 0; from < 100; ++from) {
    Ints wanted;
    for (std::int64_t i = from; i < 100; ++i)
      if (targets(sampler.row_at(0, i)) > 0) wanted.push_back(sampler.row_at(0, i));
    const StepPlan plan = sampler.plan({0, from});
    if (wanted.empty()) {  // only rows without targets are left: the next epoch's first step
      EXPECT_EQ(plan.cuts, sampler.plan({1, 0}).cuts);
      EXPECT_EQ(plan.next, (Position{2, 0}));
    } else {
      EXPECT_EQ(plan.cuts[0], wanted);
      EXPECT_EQ(plan.next, (Position{1, 0}));
    }
  }
  EXPECT_EQ(sampler.plan({0, 100}).cuts, sampler.plan({1, 0}).cuts);
  EXPECT_THROW((void)sampler.plan({0, -1}), base::ConfigError);
  EXPECT_THROW((void)sampler.row_at(0, 100), base::ConfigError);
}

TEST_F(SamplerTest, SharesPartitionACutForEveryCount) {
  open(1000);
  const Sampler sampler(*dataset_, batches_of(100), kMaxLength, 2);
  for (const StepPlan& plan : plans_of(sampler, {})) {
    const Ints& cut = plan.cuts[0];
    for (const int count : {1, 2, 3, 7, 150}) {
      Ints rows;
      std::int64_t least = 1 << 30, most = 0;
      for (int index = 0; index < count; ++index) {
        const auto share = sampler.share(cut, {index, count});
        EXPECT_LE(share.size(), 1U);  // no bound: one micro-batch, or none
        std::int64_t load = 0;
        for (const Ints& batch : share) {
          rows.insert(rows.end(), batch.begin(), batch.end());
          load += tokens(batch);
        }
        least = std::min(least, load);
        most = std::max(most, load);
      }
      EXPECT_EQ(sorted(rows), sorted(cut)) << count << " shards";
      // Longest first to the least loaded: no shard is behind by more than one row.
      EXPECT_LE(most - least, kMaxLength) << count << " shards";
    }
  }
}

TEST_F(SamplerTest, SharesFollowTheRule) {
  // Targets: row 0: 5, row 1: 1, row 2: 3, row 3: 3, row 4: 2 (lengths are 3 more).
  std::vector<std::vector<std::uint32_t>> rows;
  for (const std::size_t length : {8, 4, 6, 6, 5}) rows.emplace_back(length, 1U);
  write_rows(folder_ / "dataset", rows);
  const Dataset dataset(folder_ / "dataset");
  const Sampler sampler(dataset, batches_of(10), 50, 2);
  using Batches = std::vector<Ints>;
  // In order of the cut: 5 to shard 0, 3 and 3 to shard 1, 2 to shard 0 (5 < 6), 1 to shard 1 (6 < 7).
  EXPECT_EQ(sampler.share({3, 1, 0, 4, 2}, {0, 2}), (Batches{{0, 4}}));
  EXPECT_EQ(sampler.share({3, 1, 0, 4, 2}, {1, 2}), (Batches{{3, 2, 1}}));
  EXPECT_EQ(sampler.share({1}, {1, 2}), Batches{});
  EXPECT_EQ(sampler.share({}, {0, 1}), Batches{});
  EXPECT_THROW((void)sampler.share({1}, {2, 2}), base::ConfigError);
  EXPECT_THROW((void)sampler.share({1}, {0, 0}), base::ConfigError);
  const Sampler bounded(dataset, batches_of(10, 0, 1, 4), 50, 2);
  EXPECT_EQ(bounded.share({0, 1, 2, 3, 4}, {0, 1}), (Batches{{0}, {2}, {3}, {4, 1}}));
}

TEST_F(SamplerTest, MicroBatchesKeepTheirBound) {
  open(1000);
  const Sampler sampler(*dataset_, batches_of(200, 0, 1, 10), kMaxLength, 2);
  const Ints cut = sampler.plan({}).cuts[0];
  Ints rows;
  for (int index = 0; index < 3; ++index) {
    for (const Ints& batch : sampler.share(cut, {index, 3})) {
      EXPECT_LE(tokens(batch), 10);
      EXPECT_FALSE(batch.empty());
      rows.insert(rows.end(), batch.begin(), batch.end());
    }
  }
  EXPECT_EQ(sorted(rows), sorted(cut));
}

TEST_F(SamplerTest, RefusesADatasetWithoutTargets) {
  write_rows(folder_ / "dataset", {{0, 1, 2}, {0}, {}});
  const Dataset dataset(folder_ / "dataset");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { Sampler(dataset, batches_of(10), 50, 1); }),
                  "no training target");
}

TEST_F(SamplerTest, RefusesOptionsOutOfRange) {
  open(100);
  EXPECT_THROW(Sampler(*dataset_, batches_of(0), kMaxLength, 1), base::ConfigError);
  EXPECT_THROW(Sampler(*dataset_, batches_of(1, -1), kMaxLength, 1), base::ConfigError);
  EXPECT_THROW(Sampler(*dataset_, batches_of(1, 0, 0), kMaxLength, 1), base::ConfigError);
  BatchOptions options;
  base::read_options(base::Json::parse(R"({"sequences": 7, "tokens": 9})"), options);
  EXPECT_EQ(options.sequences, 7);
  EXPECT_EQ(options.tokens, 9);
  EXPECT_THROW(base::read_options(base::Json::parse(R"({"sequences": 0})"), options), base::ConfigError);
}

}  // namespace
}  // namespace decant::data
