// Ranks and what is made of them: metrics, baselines, fixed blocks over threads, scores that are not numbers.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <set>

#include "models/sasrec.h"
#include "tests/trainer/support.h"
#include "trainer/baselines.h"
#include "trainer/blocks.h"
#include "trainer/errors.h"
#include "trainer/labeller.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

using testing_support::Alone;
using testing_support::message_of;
using testing_support::TempFolder;

TEST(RankHistogram, HandNumbers) {
  RankHistogram histogram;
  for (const std::int64_t rank : {0, 1, 4, 9, 60}) histogram.add(rank);
  const auto metrics = histogram.metrics();
  EXPECT_EQ(histogram.total(), 5);
  EXPECT_DOUBLE_EQ(metrics.at("recall@1"), 0.2);
  EXPECT_DOUBLE_EQ(metrics.at("recall@5"), 0.6);
  EXPECT_DOUBLE_EQ(metrics.at("recall@10"), 0.8);
  EXPECT_DOUBLE_EQ(metrics.at("recall@50"), 0.8);
  EXPECT_DOUBLE_EQ(metrics.at("ndcg@1"), 0.2);
  EXPECT_DOUBLE_EQ(metrics.at("ndcg@5"), (1 + 1 / std::log2(3.0) + 1 / std::log2(6.0)) / 5);
  EXPECT_DOUBLE_EQ(metrics.at("ndcg@10"), (1 + 1 / std::log2(3.0) + 1 / std::log2(6.0) + 1 / std::log2(11.0)) / 5);
  EXPECT_DOUBLE_EQ(metrics.at("mrr@5"), (1 + 0.5 + 0.2) / 5);
  EXPECT_DOUBLE_EQ(metrics.at("mrr@20"), (1 + 0.5 + 0.2 + 0.1) / 5);
  EXPECT_EQ(metrics.size(), 15U);
}

TEST(RankHistogram, BoundsAndSums) {
  RankHistogram empty, a, b;
  for (const auto& [name, value] : empty.metrics()) EXPECT_EQ(value, 0) << name;
  a.add(49);
  b.add(50);
  b.add(std::int64_t{1} << 40);
  EXPECT_DOUBLE_EQ(a.metrics().at("recall@50"), 1);
  EXPECT_DOUBLE_EQ(a.metrics().at("recall@20"), 0);
  EXPECT_DOUBLE_EQ(b.metrics().at("recall@50"), 0);
  a.add(b);
  EXPECT_EQ(a.total(), 3);
  EXPECT_DOUBLE_EQ(a.metrics().at("ndcg@50"), 1 / std::log2(51.0) / 3);
}

using Rows = std::vector<std::vector<std::uint32_t>>;

/// Training events of a row under leave-last-out.
std::size_t training_of(const std::vector<std::uint32_t>& row) { return row.size() >= 3 ? row.size() - 2 : row.size(); }

/// Ranks by sorting nothing and counting everything.
Evaluation brute_force(const Rows& rows, std::int64_t items, Baseline kind, data::Split split) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(items));
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::int64_t> follows;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < training_of(row); ++i) {
      ++counts[row[i]];
      if (i > 0) ++follows[{row[i - 1], row[i]}];
    }
  Evaluation out;
  for (const auto& row : rows) {
    if (row.size() < 3) continue;
    const std::size_t at = row.size() - (split == data::Split::kValid ? 2 : 1);
    const auto score = [&](std::uint32_t item) {
      const auto found = follows.find({row[at - 1], item});
      const std::int64_t count = kind == Baseline::kTransitions && found != follows.end() ? found->second : 0;
      return std::pair(count, counts[item]);
    };
    const std::set<std::uint32_t> seen(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(at));
    std::int64_t greater[2] = {0, 0}, equal[2] = {0, 0};
    for (std::uint32_t item = 0; item < items; ++item) {
      if (item == row[at]) continue;
      for (const int unseen : {0, 1}) {
        if (unseen == 1 && seen.contains(item)) continue;
        greater[unseen] += score(item) > score(row[at]) ? 1 : 0;
        equal[unseen] += score(item) == score(row[at]) ? 1 : 0;
      }
    }
    out.all.add(greater[0] + equal[0] / 2);
    out.unseen.add(greater[1] + equal[1] / 2);
    out.cold_targets += counts[row[at]] == 0 ? 1 : 0;
  }
  return out;
}

TEST(Baselines, EqualBruteForce) {
  TempFolder folder;
  Rows rows = data::testing_support::ragged_rows(300);
  rows.push_back({1, 2, 1, 2, 1, 2, 3});  // repeats: the target was seen
  rows.push_back({50, 51, 52, 53});       // cold targets, seen nowhere in training
  data::testing_support::write_rows(folder / "data", rows);
  const data::Dataset dataset(folder / "data");
  ASSERT_EQ(dataset.info().items, 54);
  Alone alone(folder.path());
  for (const auto kind : {Baseline::kPopularity, Baseline::kTransitions})
    for (const auto split : {data::Split::kValid, data::Split::kTest}) {
      auto found = BaselineRanker(dataset, kind).evaluate(split, alone.context);
      auto wanted = brute_force(rows, 54, kind, split);
      EXPECT_GT(wanted.all.total(), 200);
      EXPECT_EQ(found.all.counts(), wanted.all.counts());
      EXPECT_EQ(found.unseen.counts(), wanted.unseen.counts());
      EXPECT_EQ(found.cold_targets, wanted.cold_targets);
      EXPECT_EQ(found.cold_targets, 1);
    }
}

TEST(Blocks, EachOnceAtItsOwnRankWithoutGradients) {
  for (const int threads : {1, 2, 5})
    for (const int count : {1, 3})
      for (const std::int64_t blocks : {0, 1, 2, 7, 64}) {
        std::multiset<std::int64_t> seen;
        for (int index = 0; index < count; ++index) {
          std::mutex mutex;
          for_each_block(blocks, index, count, threads, torch::kCPU, [&](std::int64_t block) {
            const bool right =
                block % count == index && !torch::GradMode::is_enabled() && (threads == 1 || at::in_parallel_region());
            const std::lock_guard lock(mutex);
            EXPECT_TRUE(right) << block;
            seen.insert(block);
          });
        }
        EXPECT_EQ(seen.size(), static_cast<std::size_t>(blocks));
        for (std::int64_t block = 0; block < blocks; ++block) EXPECT_EQ(seen.count(block), 1U);
      }
  EXPECT_TRUE(torch::GradMode::is_enabled());
}

TEST(Blocks, TheFirstExceptionStopsTheRestAndLeaves) {
  for (const int threads : {1, 3}) {
    std::atomic<int> visited{0};
    const auto visit = [&](std::int64_t block) {
      ++visited;
      if (block == 4) throw NumericError("block 4");
    };
    EXPECT_EQ(message_of<NumericError>([&] { for_each_block(10000, 0, 1, threads, torch::kCPU, visit); }), "block 4");
    EXPECT_LT(visited, 10000);
    EXPECT_TRUE(torch::GradMode::is_enabled());
  }
}

class BrokenModel : public testing::Test {
 protected:
  BrokenModel() : alone_(folder_.path()) {
    data::testing_support::write_rows(folder_ / "data", data::testing_support::ragged_rows(400));
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
    models::SasRecOptions options;
    options.dim = 8, options.max_length = 10;
    model_ = std::make_shared<models::SasRec>(options, models::ModelContext{dataset_->info().items, 1});
  }
  void breaks(const char* parameter, std::int64_t row) {
    const torch::NoGradGuard no_grad;
    model_->named_parameters()[parameter][row].fill_(NAN);
  }
  TempFolder folder_;
  Alone alone_;
  std::unique_ptr<data::Dataset> dataset_;
  std::shared_ptr<models::SasRec> model_;
};

TEST_F(BrokenModel, EvaluationNamesTheRow) {
  breaks("position.weight", 9);  // only the longest histories get there
  const auto message = message_of<NumericError>(
      [&] { static_cast<void>(evaluate_model(*model_, *dataset_, data::Split::kTest, true, alone_.context)); });
  EXPECT_CONTAINS(message, "a score of row ");
  const auto row = std::stoll(message.substr(std::string("a score of row ").size()));
  EXPECT_EQ(dataset_->length(row), 11);
}

TEST_F(BrokenModel, LabellingNamesTheRows) {
  breaks("item.weight", 3);
  data::LabelSpec spec;
  spec.key = "k", spec.max_length = 10, spec.options = {{"k", 5}, {"temperatures", {1}}};
  spec.items = dataset_->info().items, spec.rows = dataset_->info().rows;
  spec.catalogue_hash = dataset_->info().catalogue_hash, spec.content_hash = dataset_->info().content_hash;
  const auto kind = kind_of(spec);
  spec.columns = kind->columns(label_shape(*model_, *kind, *dataset_, data::Element::kF16));
  const auto message = message_of<NumericError>([&] {
    static_cast<void>(label_dataset({{model_}}, *kind, *dataset_, spec, folder_ / "labels", alone_.context));
  });
  EXPECT_CONTAINS(message, "the teacher's scores of rows 0 to 63 are not finite");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "labels" / "manifest.json"));
}

TEST_F(BrokenModel, EvaluationLeavesTheModeAsItWas) {
  model_->train();
  static_cast<void>(evaluate_model(*model_, *dataset_, data::Split::kValid, false, alone_.context));
  EXPECT_TRUE(model_->is_training());
  model_->eval();
  static_cast<void>(evaluate_model(*model_, *dataset_, data::Split::kValid, false, alone_.context));
  EXPECT_FALSE(model_->is_training());
}

}  // namespace
}  // namespace decant::trainer
