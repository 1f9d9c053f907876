// Splits by dates and by files: which events train, which are targets, and what the store says of it.
#include <gtest/gtest.h>

#include "data/dataset_reader.h"
#include "data/errors.h"
#include "data/import.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;
using Names = std::vector<std::string>;

class ImportSplit : public testing::Test {
 protected:
  ImportSplit() { options_.format = "interactions"; }

  std::string write(const std::string& name, const std::string& text) {
    write_text(folder_ / name, text);
    return (folder_ / name).string();
  }
  ImportSummary import(const std::string& text) {
    options_.files = {write("log.csv", text)};
    return import_dataset(options_, out());
  }
  [[nodiscard]] std::string misconfigured() {
    options_.files = {write("log.csv", "user,item,time\na,x,1\na,y,2\na,z,3\n")};
    return message_of<base::ConfigError>([&] { import_dataset(options_, out()); });
  }
  [[nodiscard]] Names training(std::int64_t row) const {
    const Dataset dataset(out());
    Names names;
    for (const std::int64_t item : dataset.training_events(row)) names.push_back(dataset.item_name(item));
    return names;
  }
  /// The history and the target of a row, "-" for none.
  [[nodiscard]] std::string evaluated(Split split, std::int64_t row) const {
    const Dataset dataset(out());
    const PackedBatch batch = dataset.evaluation_batch(split, row, 1, 100);
    if (batch.targets() == 0) {
      EXPECT_EQ(dataset.history_length(split, row), -1);
      return "-";
    }
    EXPECT_EQ(dataset.history_length(split, row), batch.tokens());
    std::string text;
    for (const std::int64_t item : batch.columns.front().values) text += dataset.item_name(item) + " ";
    return text + "> " + dataset.item_name(batch.target_ids.at(0));
  }
  [[nodiscard]] fs::path out() const { return folder_ / "dataset"; }

  TempFolder folder_;
  ImportOptions options_;
};

TEST_F(ImportSplit, ByDates) {
  options_.split = "temporal", options_.valid_from = "10", options_.test_from = "20";
  const auto summary = import(
      "user,item,time\n"
      "a,v,12\na,t,20\na,x,1\na,y,9.5\na,v2,15\na,t2,25\n"  // all three
      "b,x,3\nb,y,4\n"                                      // training only
      "c,v,10\nc,v2,11\nc,t,30\n"                           // cold: the first event is no target
      "d,x,1\nd,t,21\n"                                     // no valid target
      "e,v,19\n");                                          // nothing but one event
  EXPECT_EQ(training(0), (Names{"x", "y"}));
  EXPECT_EQ(evaluated(Split::kValid, 0), "x y > v");
  EXPECT_EQ(evaluated(Split::kTest, 0), "x y v v2 > t");
  EXPECT_EQ(training(1), (Names{"x", "y"}));
  EXPECT_EQ(evaluated(Split::kValid, 1), "-");
  EXPECT_EQ(evaluated(Split::kTest, 1), "-");
  EXPECT_EQ(training(2), Names{});
  EXPECT_EQ(evaluated(Split::kValid, 2), "v > v2");
  EXPECT_EQ(evaluated(Split::kTest, 2), "v v2 > t");
  EXPECT_EQ(evaluated(Split::kValid, 3), "-");
  EXPECT_EQ(evaluated(Split::kTest, 3), "x > t");
  EXPECT_EQ(training(4), Names{});
  EXPECT_EQ(evaluated(Split::kTest, 4), "-");
  EXPECT_EQ(summary.valid_targets, 2);
  EXPECT_EQ(summary.test_targets, 3);
  EXPECT_EQ(summary.training_only_users, 2);
  EXPECT_EQ(summary.cold_test_targets, 3);  // t is never trained on
  EXPECT_EQ(Dataset(out()).info().split, "temporal");
}

TEST_F(ImportSplit, TrainingSeesOnlyItsOwnEvents) {
  options_.split = "temporal", options_.valid_from = "10", options_.test_from = "20";
  import("user,item,time\na,x,1\na,y,2\na,v,12\na,t,20\nb,v,11\nb,v,13\nb,t,22\n");
  const Dataset dataset(out());
  EXPECT_EQ(dataset.training_counts(), (std::vector<std::int64_t>{1, 1, 0, 0}));
  EXPECT_EQ(dataset.training_targets(0, 10), 1);
  EXPECT_EQ(dataset.training_targets(1, 10), 0);
  const PackedBatch batch = dataset.training_batch({0, 1}, 10);
  EXPECT_EQ(batch.sample_ids, (std::vector<std::int64_t>{0}));
  EXPECT_EQ(batch.target_ids, (std::vector<std::int64_t>{1}));
}

TEST_F(ImportSplit, ByFiles) {
  options_.split = "given";
  options_.valid_files = {write("valid.csv", "user,item,time\na,v,30\na,v2,31\nb,v,5\n")};
  options_.test_files = {write("test.csv", "user,item,time\na,t,40\nc,t,7\nc,t2,8\nb,t,3\n")};
  const auto summary = import("user,item,time\na,y,2\na,x,1\nb,z,9\n");
  EXPECT_EQ(training(0), (Names{"x", "y"}));
  EXPECT_EQ(evaluated(Split::kValid, 0), "x y v > v2");
  EXPECT_EQ(evaluated(Split::kTest, 0), "x y v v2 > t");
  EXPECT_EQ(training(1), Names{"z"});
  EXPECT_EQ(evaluated(Split::kValid, 1), "z > v");  // the files say what comes first, then the times
  EXPECT_EQ(evaluated(Split::kTest, 1), "z v > t");
  EXPECT_EQ(training(2), Names{});
  EXPECT_EQ(evaluated(Split::kTest, 2), "t > t2");
  EXPECT_EQ(summary.interactions->against_split, 2);  // b's v and t
  EXPECT_EQ(inspect_dataset(out())["version"], 2);
}

TEST_F(ImportSplit, ByFilesOfHistories) {
  options_.format = "sequences", options_.split = "given";
  options_.valid_files = {write("valid", "b v\na v w\n")};
  options_.test_files = {write("test", "a t\n")};
  import("a x y\nb z\n");
  EXPECT_EQ(training(0), (Names{"x", "y"}));
  EXPECT_EQ(evaluated(Split::kValid, 0), "x y v > w");
  EXPECT_EQ(evaluated(Split::kTest, 0), "x y v w > t");
  EXPECT_EQ(evaluated(Split::kValid, 1), "z > v");
  EXPECT_EQ(evaluated(Split::kTest, 1), "-");
}

TEST_F(ImportSplit, LeaveLastOutIsStillVersionOne) {
  import("user,item,time\na,x,1\na,y,2\na,z,3\n");
  EXPECT_EQ(inspect_dataset(out())["version"], 1);
}

TEST_F(ImportSplit, HashAndKeyCoverTheSplit) {
  const std::string text = "user,item,time\na,x,1\na,y,2\na,z,3\na,w,4\na,q,5\n";
  import(text);
  std::vector<std::string> hashes{Dataset(out()).info().content_hash}, keys{import_key(options_)};
  options_.split = "temporal";
  for (const auto& [valid, test] : {std::pair("3", "4"), {"3", "5"}, {"4", "5"}}) {
    options_.valid_from = valid, options_.test_from = test;
    import(text);
    hashes.push_back(Dataset(out()).info().content_hash);
    keys.push_back(import_key(options_));
    EXPECT_EQ(Dataset(out()).info().import_key, keys.back());
    EXPECT_EQ(inspect_dataset(out())["verified"], true);
  }
  for (auto* values : {&hashes, &keys}) {
    std::sort(values->begin(), values->end());
    EXPECT_EQ(std::unique(values->begin(), values->end()), values->end());
  }
}

TEST_F(ImportSplit, OptionsThatCannotBe) {
  options_.split = "random";
  EXPECT_CONTAINS(misconfigured(), "split is 'random', expected leave-last-out or temporal or given");
  options_.split = "temporal";
  EXPECT_CONTAINS(misconfigured(), "needs a time in 'valid_from'");
  options_.valid_from = "2", options_.test_from = "2";
  EXPECT_CONTAINS(misconfigured(), "'valid_from' must be before 'test_from'");
  options_.test_from = "9";
  EXPECT_CONTAINS(misconfigured(), "'split: temporal' leaves no target for test");
  EXPECT_CONTAINS(misconfigured(), "between 1970-01-01 00:00:01 and 1970-01-01 00:00:03");
  options_.interactions.time = "";
  EXPECT_CONTAINS(misconfigured(), "'split: temporal' needs events with times");
  options_.split = "given";
  EXPECT_CONTAINS(misconfigured(), "'valid_from' and 'test_from' are for 'split: temporal'");
  options_.valid_from = options_.test_from = "";
  EXPECT_CONTAINS(misconfigured(), "needs files in 'valid_files'");
  options_.split = "leave-last-out", options_.test_files = {"x"};
  EXPECT_CONTAINS(misconfigured(), "are for 'split: given'");
}

TEST_F(ImportSplit, WhatCannotBeASplitIsRefused) {
  EXPECT_EQ(wrong_with_split({2, 2, 3}, 4), "");
  EXPECT_EQ(wrong_with_split({0, kNoTarget, 1}, 2), "");
  EXPECT_CONTAINS(wrong_with_split({5, kNoTarget, kNoTarget}, 4), "5 training events in a row of 4");
  EXPECT_CONTAINS(wrong_with_split({2, 1, kNoTarget}, 4), "valid target is event 1, which is training's");
  EXPECT_CONTAINS(wrong_with_split({0, kNoTarget, 0}, 4), "no history");
  EXPECT_CONTAINS(wrong_with_split({2, 3, 2}, 4), "test target is not after");
  EXPECT_CONTAINS(wrong_with_split({2, 2, 4}, 4), "test target is event 4, and the row has 4");
  DatasetContent content = content_of({{0, 1, 2}});
  content.split = kGiven;
  content.splits = {{2, 1, 2}};
  write_dataset(content, out());
  EXPECT_CONTAINS(message_of<DataError>([&] { const Dataset refused(out()); }),
                  "/sequences/split, row 0: its valid target");
}

}  // namespace
}  // namespace decant::data
