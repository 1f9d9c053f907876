// Segments: who goes where, and sums against counting by hand.
#include "trainer/segments.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/errors.h"
#include "tests/trainer/support.h"

namespace decant::trainer {
namespace {

using testing_support::Alone;
using testing_support::message_of;
using testing_support::TempFolder;

class Segments : public testing::Test {
 protected:
  Segments() : alone_(folder_.path()) {
    // Training events: item 0 ten times, 1 three times, 2 three times, 3 twice, 4 twice; 5 and 6 never.
    data::testing_support::write_rows(
        folder_ / "data", {{0, 0, 0, 0, 0, 0, 1, 2}, {0, 0, 0, 0, 1, 1, 5, 6}, {1, 2, 2, 2, 3, 3, 4, 4, 0, 3}});
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
  }
  std::string name(const std::vector<Segment>& segments, const char* segment, std::int64_t row, std::int64_t target,
                   data::Split split = data::Split::kValid) {
    for (const auto& one : segments)
      if (one.name == segment) return one.values.at(one.value_of({row, target, 0, 0}, split));
    return "no such segment";
  }
  void write(const char* file, const std::string& text) { std::ofstream(folder_ / file) << text; }
  TempFolder folder_;
  Alone alone_;
  std::unique_ptr<data::Dataset> dataset_;
};

TEST_F(Segments, PopularityAndHistory) {
  const EvaluateOptions options;
  const auto segments = make_segments(*dataset_, options);
  ASSERT_EQ(segments.size(), 2U);
  // 20 events: item 0 makes up half of them; 1 and 2 lie below 80 %, 3 and 4 above.
  EXPECT_EQ(dataset_->training_counts(), (std::vector<std::int64_t>{10, 3, 3, 2, 2, 0, 0}));
  const char* wanted[] = {"head", "torso", "torso", "tail", "tail", "cold", "cold"};
  for (std::int64_t item = 0; item < 7; ++item) EXPECT_EQ(name(segments, "popularity", 0, item), wanted[item]) << item;
  EXPECT_EQ(name(segments, "history", 0, 0, data::Split::kValid), "5-9");
  EXPECT_EQ(name(segments, "history", 2, 0, data::Split::kValid), "5-9");
  EXPECT_EQ(name(segments, "history", 2, 0, data::Split::kTest), "5-9");
}

TEST_F(Segments, AttributesByOriginalId) {
  std::string items, users;
  dataset_->visit_users([&](std::int64_t row, std::string_view id) {
    if (row < 2) users += std::string(id) + "\t" + (row == 0 ? "old" : "new") + "\n";
  });
  for (std::int64_t item = 0; item < 6; ++item)
    items += dataset_->item_name(item) + "\t" + (item == 0 ? "big" : item < 3 ? "small" : "rare") + "\n";
  write("items.tsv", items + "nobody\tmissing\n");
  write("users.tsv", users);
  EvaluateOptions options;
  options.segment_values = 2;
  options.segments.add("brand").file = (folder_ / "items.tsv").string();
  auto& age = options.segments.add("age");
  age.file = (folder_ / "users.tsv").string(), age.of = "user";
  const auto segments = make_segments(*dataset_, options);
  ASSERT_EQ(segments.size(), 4U);
  EXPECT_EQ(segments[2].values, (std::vector<std::string>{"big", "small", "(other)", "(none)"}));
  EXPECT_EQ(name(segments, "brand", 0, 0), "big");
  EXPECT_EQ(name(segments, "brand", 0, 2), "small");
  EXPECT_EQ(name(segments, "brand", 0, 4), "(other)");
  EXPECT_EQ(name(segments, "brand", 0, 6), "(none)");
  EXPECT_EQ(name(segments, "age", 0, 6), "old");
  EXPECT_EQ(name(segments, "age", 1, 6), "new");
  EXPECT_EQ(name(segments, "age", 2, 6), "(none)");
}

TEST_F(Segments, WrongFilesAreNamed) {
  EvaluateOptions options;
  options.segments.add("brand").file = (folder_ / "a.tsv").string();
  const auto refusal = [&] {
    return message_of<data::DataError>([&] { static_cast<void>(make_segments(*dataset_, options)); });
  };
  write("a.tsv", "i0\tx\n\ni1 y\n");
  EXPECT_CONTAINS(refusal(), "a.tsv: line 3: expected an id, a tab and a value");
  write("a.tsv", "i0\tx\ni0\ty\n");
  EXPECT_CONTAINS(refusal(), "a.tsv: line 2: the id 'i0' has another value already");
  write("a.tsv", "nobody\tx\n");
  EXPECT_CONTAINS(refusal(), "none of its ids is an item");
}

TEST_F(Segments, SumsAndWorst) {
  const auto segments = make_segments(*dataset_, EvaluateOptions{});
  std::map<std::string, SideRecords> sides;
  // Targets of valid: a head item, a torso item, a tail item.
  sides["teacher"].valid = {{0, 0, 0, 0}, {1, 1, 0, 0}, {2, 3, 2, 2}};
  sides["student"].valid = {{0, 0, 0, 0}, {1, 1, 30, 30}, {2, 3, 2, 2}};
  sides["student"].fidelity = {{0, 1 << 24, 10}, {1, 3 << 23, 4}, {2, 0, 0}};
  const auto report = segments_json(segments, sides, "recall@5", alone_.context);
  const auto& popularity = report.at("by").at("popularity");
  EXPECT_EQ(popularity[0].at("value"), "head");
  EXPECT_EQ(popularity[0].at("valid_targets"), 1);
  EXPECT_NEAR(popularity[0].at("share").get<double>(), 1.0 / 3, 1e-12);
  EXPECT_EQ(popularity[1].at("student").at("valid").at("recall@5"), 0.0);
  EXPECT_EQ(popularity[1].at("teacher").at("valid").at("recall@5"), 1.0);
  EXPECT_EQ(popularity[1].at("student").at("fidelity").at("valid_kl"), 1.5);
  EXPECT_EQ(popularity[1].at("student").at("fidelity").at("valid_shared@10"), 4.0);
  EXPECT_TRUE(popularity[1].at("teacher").at("fidelity").is_null());
  const auto& worst = report.at("student_loses_most");
  ASSERT_FALSE(worst.empty());
  EXPECT_NEAR(worst[0].at("loss").get<double>(), 1.0 / 3, 1e-12);
  for (const auto& entry : worst) EXPECT_NE(entry.at("value"), "head");
  EXPECT_CONTAINS(format_segments(report), "student loses 0.3333 in");
}

}  // namespace
}  // namespace decant::trainer
