#include "trainer/folds.h"

#include <gtest/gtest.h>

namespace decant::trainer {
namespace {

TEST(Folds, NamesAreReadBack) {
  const auto name = FoldName{"narrow", 3, 12}.text();
  const auto read = FoldName::parse(name);
  EXPECT_EQ(read.teacher, "narrow");
  EXPECT_EQ(read.index, 3);
  EXPECT_EQ(read.count, 12);
  EXPECT_EQ(FoldName::parse("teacher").count, 0);
  EXPECT_EQ(FoldName::parse("teacher").text(), "teacher");
}

TEST(Folds, EveryRowHasOneTeacher) {
  LabelSetOptions set;
  EXPECT_EQ(teachers_of_set(set), std::vector<std::string>{"teacher"});
  set.folds = 3;
  const auto names = teachers_of_set(set);
  ASSERT_EQ(names.size(), 3u);
  const LabelTeachers teachers{std::vector<std::shared_ptr<models::SequenceModel>>(3), 7};
  std::vector<int> rows(3, 0);
  for (std::int64_t row = 0; row < 3000; ++row) {
    const auto at = teachers.of(row);
    const auto fold = FoldName::parse(names.at(at));
    EXPECT_TRUE((data::Fold{7, fold.index, fold.count}.has(row))) << "row " << row << " is labelled by one that saw it";
    ++rows.at(at);
  }
  for (const int count : rows) EXPECT_NEAR(count, 1000, 120);
}

}  // namespace
}  // namespace decant::trainer
