#include "data/loader.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "data/errors.h"
#include "tests/data/label_support.h"

namespace decant::data {
namespace {

using namespace testing_support;

constexpr std::int64_t kMaxLength = 6;

bool equal(const PackedBatch& a, const PackedBatch& b) {
  return a.sample_ids == b.sample_ids && a.offsets == b.offsets && a.window_starts == b.window_starts &&
         a.columns.size() == b.columns.size() && a.columns[0].name == b.columns[0].name &&
         a.columns[0].values == b.columns[0].values && a.target_tokens == b.target_tokens &&
         a.target_ids == b.target_ids && a.target_weights == b.target_weights && a.seen_ids == b.seen_ids;
}

class LoaderTest : public testing::Test {
 protected:
  LoaderTest() {
    write_rows(folder_ / "dataset", ragged_rows(400));
    dataset_ = std::make_unique<Dataset>(folder_ / "dataset");
    options_.sequences = 32;
    options_.accumulate = 2;
    options_.rank_tokens = 30;
    sampler_ = std::make_unique<Sampler>(*dataset_, options_, kMaxLength, 4);
  }
  TempFolder folder_;
  std::unique_ptr<Dataset> dataset_;
  BatchOptions options_;
  std::unique_ptr<Sampler> sampler_;
};

TEST_F(LoaderTest, GivesWhatPackingGives) {
  const LabelSpec spec = spec_of(*dataset_, kMaxLength, 3);
  write_labels(LabelWriter(folder_ / "labels" / "teacher", *dataset_, spec), *dataset_, spec);
  const LabelStore labels({{"teacher", folder_ / "labels" / "teacher"}}, *dataset_, kMaxLength);
  for (const int count : {1, 2, 3}) {
    for (int index = 0; index < count; ++index) {
      Loader loader(*dataset_, &labels, *sampler_, kMaxLength, {index, count}, {});
      Position at;
      for (int epochs = 0; epochs < 2;) {
        const StepPlan plan = sampler_->plan(at);
        const Window window = loader.next();
        std::size_t i = 0;
        std::int64_t sequences = 0, targets = 0;
        for (const auto& cut : plan.cuts) {
          sequences += static_cast<std::int64_t>(cut.size());
          for (const std::int64_t row : cut) targets += dataset_->training_targets(row, kMaxLength);
          for (const auto& rows : sampler_->share(cut, {index, count})) {
            const PackedBatch wanted = dataset_->training_batch(rows, kMaxLength);
            ASSERT_LT(i, window.micro_batches.size());
            EXPECT_TRUE(equal(window.micro_batches[i].batch, wanted));
            ASSERT_TRUE(window.micro_batches[i].labels.contains("teacher"));
            EXPECT_TRUE(testing_support::equal(window.micro_batches[i].labels.at("teacher"), labels_of(spec, wanted)));
            ++i;
          }
        }
        EXPECT_EQ(i, window.micro_batches.size());
        EXPECT_EQ(window.sequences, sequences);
        EXPECT_EQ(window.targets, targets);
        EXPECT_EQ(window.tokens, targets);
        EXPECT_EQ(window.next, plan.next);
        EXPECT_EQ(window.ends_epoch, plan.ends_epoch);
        at = plan.next;
        epochs += plan.ends_epoch;
      }
    }
  }
}

TEST_F(LoaderTest, StartsAnywhereAndNeedsNoLabels) {
  const Position start = sampler_->plan(sampler_->plan({3, 0}).next).next;
  Loader loader(*dataset_, nullptr, *sampler_, kMaxLength, {0, 1}, start, 1);
  const Window window = loader.next();
  EXPECT_EQ(window.next, sampler_->plan(start).next);
  EXPECT_FALSE(window.micro_batches.at(0).labels.contains("teacher"));
}

TEST_F(LoaderTest, AnEmptyShareIsAWindowWithoutBatches) {
  options_.sequences = 2;
  options_.accumulate = 1;
  const Sampler sampler(*dataset_, options_, kMaxLength, 4);
  Loader loader(*dataset_, nullptr, sampler, kMaxLength, {2, 3}, {});
  const Window window = loader.next();
  EXPECT_TRUE(window.micro_batches.empty());
  EXPECT_EQ(window.sequences, 2);
}

TEST_F(LoaderTest, RethrowsWhatTheThreadThrew) {
  const fs::path path = folder_ / "dataset" / "part-00000.h5";
  // Damages the stored events, which the open dataset has not read yet.
  const std::string bytes = bytes_of(path);
  std::vector<std::uint32_t> first;
  for (const auto& row : ragged_rows(30)) first.insert(first.end(), row.begin(), row.end());
  const std::size_t at = bytes.find(std::string(reinterpret_cast<const char*>(first.data()), 4 * first.size()));
  ASSERT_NE(at, std::string::npos);
  poke(path, at, 49);
  const Dataset damaged(folder_ / "dataset");
  const Sampler sampler(damaged, options_, kMaxLength, 4);
  Loader loader(damaged, nullptr, sampler, kMaxLength, {0, 1}, {});
  for (int i = 0; i < 2; ++i)  // and again, to whoever asks again
    EXPECT_CONTAINS(message_of<DataError>([&] { (void)loader.next(); }), path.string());
}

TEST_F(LoaderTest, EndsPromptly) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 50; ++i) {
    Loader full(*dataset_, nullptr, *sampler_, kMaxLength, {0, 1}, {}, 1);
    if (i % 2 == 0) (void)full.next();
    if (i % 5 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // its queue is full by now
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(LoaderTest, CountsItsWaiting) {
  Loader loader(*dataset_, nullptr, *sampler_, kMaxLength, {0, 1}, {});
  EXPECT_EQ(loader.waited_seconds(), 0.0);
  double before = 0;
  for (int i = 0; i < 100; ++i) {
    (void)loader.next();
    EXPECT_GE(loader.waited_seconds(), before);
    before = loader.waited_seconds();
  }
  EXPECT_LT(before, 10.0);
}

}  // namespace
}  // namespace decant::data
