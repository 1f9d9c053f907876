#include "data/dataset.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "data/errors.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

using Ints = std::vector<std::int64_t>;

class DatasetTest : public testing::Test {
 protected:
  [[nodiscard]] Dataset open(const std::vector<std::vector<std::uint32_t>>& rows, std::size_t cache_bytes = 1 << 20) {
    write_rows(folder(), rows);
    return Dataset(folder(), cache_bytes);
  }
  [[nodiscard]] fs::path folder() const { return folder_ / "dataset"; }
  TempFolder folder_;
};

TEST_F(DatasetTest, KnowsItsSizes) {
  const Dataset dataset = open({{0, 1, 2, 3}, {2}, {1, 4, 1}});
  EXPECT_EQ(dataset.info().rows, 3);
  EXPECT_EQ(dataset.info().items, 5);
  EXPECT_EQ(dataset.info().events, 8);
  EXPECT_EQ(dataset.info().split, "leave-last-out");
  EXPECT_EQ(dataset.length(0), 4);
  EXPECT_EQ(dataset.length(1), 1);
  EXPECT_EQ(dataset.item_name(4), "i4");
  EXPECT_THROW((void)dataset.item_name(5), base::ConfigError);
  EXPECT_CONTAINS(message_of<DataError>([&] { (void)dataset.length(3); }), "row 3");
  EXPECT_THROW((void)dataset.training_events(-1), DataError);
}

TEST_F(DatasetTest, LeavesTheLastTwoOut) {
  const Dataset dataset = open({{0, 1, 2, 3}, {0, 1, 2}, {0, 1}, {0}, {}});
  EXPECT_EQ(dataset.training_events(0), (Ints{0, 1}));
  EXPECT_EQ(dataset.training_events(1), (Ints{0}));
  EXPECT_EQ(dataset.training_events(2), (Ints{0, 1}));  // too short for a split: training only
  EXPECT_EQ(dataset.training_events(3), (Ints{0}));
  EXPECT_EQ(dataset.training_events(4), (Ints{}));
  EXPECT_EQ(dataset.training_counts(), (Ints{4, 2, 0, 0}));
}

TEST_F(DatasetTest, CountsTargets) {
  const Dataset dataset = open({{0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3}, {0, 1, 2}, {0, 1}, {0}, {}});
  const auto targets = [&](std::int64_t max_length) {
    Ints out;
    for (std::int64_t row = 0; row < 6; ++row) out.push_back(dataset.training_targets(row, max_length));
    return out;
  };
  EXPECT_EQ(targets(50), (Ints{4, 1, 0, 1, 0, 0}));
  EXPECT_EQ(targets(4), (Ints{4, 1, 0, 1, 0, 0}));
  EXPECT_EQ(targets(3), (Ints{3, 1, 0, 1, 0, 0}));
  EXPECT_EQ(targets(1), (Ints{1, 1, 0, 1, 0, 0}));
}

TEST_F(DatasetTest, PacksTrainingWindows) {
  // Training events: 10 11 12 13 14 | 20 21 | none | 40 41.
  const Dataset dataset = open({{10, 11, 12, 13, 14, 15, 16}, {20, 21, 22, 23}, {30, 31, 32}, {40, 41}});
  const PackedBatch batch = dataset.training_batch({3, 0, 2, 1}, 3);
  EXPECT_EQ(batch.sample_ids, (Ints{3, 0, 1}));
  EXPECT_EQ(batch.offsets, (Ints{0, 1, 4, 5}));
  EXPECT_EQ(batch.window_starts, (Ints{0, 1, 0}));
  EXPECT_EQ(batch.column("items").values, (Ints{40, 11, 12, 13, 20}));
  EXPECT_EQ(batch.target_tokens, (Ints{0, 1, 2, 3, 4}));
  EXPECT_EQ(batch.target_ids, (Ints{41, 12, 13, 14, 21}));
  EXPECT_EQ(batch.target_weights, std::vector<float>(5, 1.0F));
  EXPECT_TRUE(batch.seen_offsets.empty());
  EXPECT_TRUE(batch.seen_ids.empty());
  EXPECT_EQ(batch.sequences(), 3);
  EXPECT_EQ(batch.tokens(), 5);
  EXPECT_EQ(batch.targets(), 5);
}

TEST_F(DatasetTest, AnEmptyBatchIsWellFormed) {
  const Dataset dataset = open({{0, 1, 2}, {0, 1, 2, 3}});
  for (const PackedBatch& batch : {dataset.training_batch({}, 5), dataset.training_batch({0}, 5)}) {
    EXPECT_EQ(batch.sequences(), 0);
    EXPECT_EQ(batch.tokens(), 0);
    EXPECT_EQ(batch.offsets, (Ints{0}));
  }
}

TEST_F(DatasetTest, PacksHistoriesForValidAndTest) {
  const Dataset dataset = open({{5, 6, 5, 7, 8, 6}, {1, 2}, {3, 4, 3}, {9, 8, 7}});
  const PackedBatch valid = dataset.evaluation_batch(Split::kValid, 0, 4, 2);
  EXPECT_EQ(valid.sample_ids, (Ints{0, 2, 3}));
  EXPECT_EQ(valid.offsets, (Ints{0, 2, 3, 4}));
  EXPECT_EQ(valid.window_starts, (Ints{2, 0, 0}));
  EXPECT_EQ(valid.column("items").values, (Ints{5, 7, 3, 9}));
  EXPECT_EQ(valid.target_tokens, (Ints{1, 2, 3}));
  EXPECT_EQ(valid.target_ids, (Ints{8, 4, 8}));
  EXPECT_EQ(valid.seen_offsets, (Ints{0, 3, 4, 5}));
  EXPECT_EQ(valid.seen_ids, (Ints{5, 6, 7, 3, 9}));

  const PackedBatch test = dataset.evaluation_batch(Split::kTest, 0, 4, 2);
  EXPECT_EQ(test.column("items").values, (Ints{7, 8, 3, 4, 9, 8}));
  EXPECT_EQ(test.target_ids, (Ints{6, 3, 7}));
  EXPECT_EQ(test.target_tokens, (Ints{1, 3, 5}));
  // The targets 6 and 3 were met before: they are not among the seen.
  EXPECT_EQ(test.seen_offsets, (Ints{0, 3, 4, 6}));
  EXPECT_EQ(test.seen_ids, (Ints{5, 7, 8, 4, 8, 9}));
}

TEST_F(DatasetTest, EvaluatesRangesOfRows) {
  const Dataset dataset = open({{0, 1, 2}, {1, 2, 3}, {0, 1}, {2, 3, 4}});
  EXPECT_EQ(dataset.evaluation_batch(Split::kTest, 1, 2, 9).sample_ids, (Ints{1}));
  EXPECT_EQ(dataset.evaluation_batch(Split::kTest, 2, 1, 9).sample_ids, (Ints{}));
  EXPECT_EQ(dataset.evaluation_batch(Split::kTest, 3, 100, 9).sample_ids, (Ints{3}));  // the last block is cut
  EXPECT_THROW((void)dataset.evaluation_batch(Split::kTrain, 0, 1, 9), base::ConfigError);
  EXPECT_THROW((void)dataset.evaluation_batch(Split::kTest, 0, 1, 0), base::ConfigError);
  EXPECT_THROW((void)dataset.evaluation_batch(Split::kTest, -1, 1, 9), DataError);
}

TEST_F(DatasetTest, NamesAColumnThatIsNotThere) {
  const Dataset dataset = open({{0, 1, 2}});
  const PackedBatch batch = dataset.training_batch({0}, 5);
  const std::string message = message_of<DataError>([&] { (void)batch.column("times"); });
  EXPECT_CONTAINS(message, "times");
  EXPECT_CONTAINS(message, "items");
}

/// More rows than two blocks, in two parts.
class LargeDatasetTest : public testing::Test {
 protected:
  static constexpr std::size_t kRows = 2 * kBlockRows + 777;
  LargeDatasetTest() : rows_(ragged_rows(kRows)) { write_rows(folder_ / "dataset", rows_, kBlockRows); }
  void expect_row(const Dataset& dataset, std::size_t r) const {
    const auto row = static_cast<std::int64_t>(r);
    ASSERT_EQ(dataset.length(row), static_cast<std::int64_t>(rows_[r].size()));
    const auto training = static_cast<std::size_t>(dataset.training_length(row));
    const Ints wanted(rows_[r].begin(), rows_[r].begin() + static_cast<std::ptrdiff_t>(training));
    ASSERT_EQ(dataset.training_events(row), wanted) << "row " << r;
  }
  TempFolder folder_;
  std::vector<std::vector<std::uint32_t>> rows_;
};

TEST_F(LargeDatasetTest, ReadsAcrossBlocksAndParts) {
  ASSERT_TRUE(fs::exists(folder_ / "dataset" / "part-00002.h5"));
  const Dataset dataset(folder_ / "dataset");
  for (std::size_t r = 0; r < kRows; ++r) expect_row(dataset, r);
}

TEST_F(LargeDatasetTest, ReadsTheSameThroughATinyCache) {
  for (const std::size_t cache_bytes : {std::size_t{0}, std::size_t{1}, std::size_t{100'000}}) {
    const Dataset dataset(folder_ / "dataset", cache_bytes);
    // Every row after one of another block.
    for (std::size_t i = 0; i < 300; ++i) expect_row(dataset, (i * 4099 + i / 3) % kRows);
  }
}

TEST_F(LargeDatasetTest, PartsDoNotChangeTheHashes) {
  write_rows(folder_ / "whole", rows_);
  EXPECT_FALSE(fs::exists(folder_ / "whole" / "part-00001.h5"));
  const Dataset parts(folder_ / "dataset"), whole(folder_ / "whole");
  EXPECT_EQ(parts.info().content_hash, whole.info().content_hash);
  EXPECT_EQ(parts.info().catalogue_hash, whole.info().catalogue_hash);
  EXPECT_EQ(parts.training_counts(), whole.training_counts());
}

TEST_F(LargeDatasetTest, CachedRowsFollowTheOptionOnly) {
  const auto cached = [&](std::size_t bytes) { return Dataset(folder_ / "dataset", bytes).cached_rows(); };
  EXPECT_EQ(cached(std::size_t{1} << 30), static_cast<std::int64_t>(kRows));
  EXPECT_EQ(cached(0), kBlockRows);
  EXPECT_EQ(cached(1), kBlockRows);
  EXPECT_EQ(cached(100'000), cached(100'000));
  // 5.5 events and an offset a row take 26 bytes: two blocks need some 213,000.
  EXPECT_EQ(cached(205'000), kBlockRows);
  EXPECT_EQ(cached(220'000), 2 * kBlockRows);
  const Dataset dataset(folder_ / "dataset");
  EXPECT_EQ(dataset.block_rows(), kBlockRows);
}

TEST_F(LargeDatasetTest, ServesThreadsFromATinyCache) {
  const Dataset dataset(folder_ / "dataset", 1);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 150; ++i) {
        const std::size_t r = (i * 4099 + t * 1313) % kRows;
        const auto events = dataset.training_events(static_cast<std::int64_t>(r));
        if (!std::equal(events.begin(), events.end(), rows_[r].begin())) ++wrong;
        if (dataset.item_name(static_cast<std::int64_t>(i % 50)) != "i" + std::to_string(i % 50)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(LargeDatasetTest, InspectionVerifiesAndDescribes) {
  const base::Json found = inspect_dataset(folder_ / "dataset");
  EXPECT_EQ(found["rows"], kRows);
  EXPECT_EQ(found["items"], 50);
  EXPECT_EQ(found["parts"], 3);
  EXPECT_EQ(found["lengths"]["min"], 0);
  EXPECT_EQ(found["lengths"]["max"], 11);
  EXPECT_EQ(found["content_hash"], Dataset(folder_ / "dataset").info().content_hash);
  std::int64_t without = 0;
  for (const auto& row : rows_) without += row.size() < 2 || row.size() == 3;
  EXPECT_EQ(found["rows_without_training_target"], without);
}

}  // namespace
}  // namespace decant::data
