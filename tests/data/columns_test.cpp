// Columns of items and users: what becomes of values, the files that they are joined from, and batches with them.
#include <gtest/gtest.h>

#include <cmath>

#include "data/attributes.h"
#include "data/column_store.h"
#include "data/errors.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;
using Codes = std::vector<std::uint32_t>;

TextColumn texts_of(const std::vector<std::string>& texts) {
  TextColumn out;
  for (const auto& text : texts) out.push_back(text);
  return out;
}

TEST(ColumnCollector, CodesAreByTrainingCountThenText) {
  ColumnOptions options;
  options.separator = "|";
  options.min_count = 2;
  ColumnCollector collector("item", "kind", options, 6);
  EXPECT_EQ(collector.set(0, "b | a|b"), "");
  EXPECT_EQ(collector.set(1, "c"), "");
  EXPECT_EQ(collector.set(2, "never"), "");
  EXPECT_EQ(collector.set(3, " |"), "");
  EXPECT_EQ(collector.set(4, "rare"), "");
  EXPECT_EQ(collector.set(0, "c"), "");  // too late
  const Codes training{2, 2, 0, 5, 1, 1};
  const auto column = collector.finish(training, texts_of({"0", "1", "2", "3", "4", "5"}));
  EXPECT_EQ(column.info.values, 5);  // two and a, b, c of two events each
  EXPECT_EQ(column.info.width, 2);
  EXPECT_EQ(column.info.missing, 2);  // 3 is blank, 5 was not told
  EXPECT_EQ(column.vocabulary.at(0), "a");
  EXPECT_EQ(column.codes, (Codes{3, 2, 4, 0, kOtherCode, 0, 0, 0, kOtherCode, 0, 0, 0}));
}

TEST(ColumnCollector, NumbersAreStandardisedByTrainingAlone) {
  ColumnOptions options;
  options.kind = "number";
  options.negative = "fill";
  ColumnCollector collector("item", "price", options, 5);
  for (const auto& [row, text] : std::vector<std::pair<int, std::string>>{{0, "1"}, {1, " 3 "}, {2, "1000"}, {3, "-7"}})
    EXPECT_EQ(collector.set(row, text), "");
  const auto column = collector.finish(Codes{1, 9, 0, 1, 1}, texts_of({"0", "1", "2", "3", "4"}));
  EXPECT_EQ(column.info.mean, 2);  // row 2 is not of training; events do not weigh
  EXPECT_EQ(column.info.deviation, 1);
  EXPECT_EQ(column.numbers, (std::vector<float>{-1, 1, 998, 0, 0}));
  EXPECT_EQ(column.info.missing, 2);
}

TEST(ColumnCollector, RefusesWhatItIsTold) {
  ColumnOptions options;
  options.kind = "number";
  float value = 0;
  std::string wrong;
  for (const char* text : {"dear", "1e999", "nan", "inf", "1,5", "--1"}) {
    wrong.clear();
    EXPECT_EQ(read_number(options, text, value, wrong), ValueVerdict::kWrong) << text;
    EXPECT_CONTAINS(wrong, "is no finite number");
  }
  EXPECT_EQ(read_number(options, "1e300", value, wrong), ValueVerdict::kWrong);
  EXPECT_CONTAINS(wrong, "beyond the numbers of 32 bits");
  options.negative = "stop";
  EXPECT_EQ(read_number(options, "-1", value, wrong), ValueVerdict::kWrong);
  options.negative = "drop";
  EXPECT_EQ(read_number(options, "-1", value, wrong), ValueVerdict::kDrop);
  options.negative = "keep";
  options.transform = "log";
  EXPECT_EQ(read_number(options, "-1", value, wrong), ValueVerdict::kKeep);
  EXPECT_FLOAT_EQ(value, -std::log(2.0F));
  options = ColumnOptions{};
  options.kind = "number";
  options.missing = "stop";
  ColumnCollector collector("user", "age", options, 2);
  EXPECT_EQ(collector.set(1, "30"), "");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] {
                    (void)collector.finish(Codes{1, 1}, texts_of({"ann", "bob"}));
                  }),
                  "the user 'ann' has no age");
}

class Attributes : public testing::Test {
 protected:
  std::vector<TableColumn> read(const std::string& text, bool skip = false) {
    write_text(folder_ / "a.csv", text);
    options_.files = {(folder_ / "a.csv").string()};
    options_.check();
    counts_ = {};
    std::vector<std::string> hashes;
    const Codes training{3, 1, 2};
    auto columns = read_attributes(options_, {"item", ids_, training}, skip, counts_, hashes);
    EXPECT_EQ(hashes.size(), 1U);
    return columns;
  }
  TempFolder folder_;
  AttributeOptions options_{"item"};
  TextColumn ids_ = texts_of({"x", "y", "z"});
  AttributeCounts counts_;
};

TEST_F(Attributes, JoinById) {
  options_.columns.add("brand").column = "Brand Name";
  options_.columns.add("title").kind = "text";
  const auto columns = read(
      "title,id,Brand Name\nThe Y,y,acme\n\"X, the \"\"first\"\"\",x,NA\nnone,q,other\nagain,y,other\nnobody,NA,\n");
  EXPECT_EQ(columns.at(0).codes, (Codes{0, 2, 0}));
  EXPECT_EQ(columns.at(1).texts.at(0), "X, the \"first\"");
  EXPECT_EQ(columns.at(1).texts.at(1), "The Y");
  EXPECT_EQ(columns.at(1).info.missing, 1);
  EXPECT_EQ(counts_.to_json().dump(),
            R"({"lines":5,"malformed_lines":0,"without_id":1,"unknown_ids":1,"repeated":1,"absent":1})");
}

TEST_F(Attributes, ASessionHasWhatItsUserHas) {
  options_.columns.add("age").kind = "number";
  write_text(folder_ / "a.csv", "id,age\nann,10\nbob,30\n");
  options_.files = {(folder_ / "a.csv").string()};
  std::vector<std::string> hashes;
  const auto ids = texts_of({"ann#1", "ann#2", "bob#1"});
  const auto columns = read_attributes(options_, {"user", ids, Codes{1, 1, 1}, true}, false, counts_, hashes);
  EXPECT_EQ(columns.at(0).numbers[0], columns.at(0).numbers[1]);
  EXPECT_LT(columns.at(0).numbers[0], columns.at(0).numbers[2]);
  EXPECT_EQ(counts_.absent, 0);
}

TEST_F(Attributes, NameTheLineAndTheColumn) {
  options_.columns.add("price").kind = "number";
  EXPECT_CONTAINS(message_of<DataError>([&] { read("id,price\nx,1\ny,dear\n"); }),
                  "a.csv: line 3: item.price: 'dear' is no finite number");
  EXPECT_CONTAINS(message_of<DataError>([&] { read("id,price\n,1\nx\n"); }), "a.csv: line 3: ");
  EXPECT_CONTAINS(message_of<DataError>([&] { read("id,cost\nx,1\n"); }), "no column 'price'");
  const auto columns = read("id,price\nx,1\ny,dear\n ,dear\n,1,2\n", true);
  EXPECT_EQ(counts_.malformed_lines, 2);
  EXPECT_EQ(counts_.without_id, 1);  // what it says of nobody is not looked at
  EXPECT_EQ(columns.at(0).info.missing, 2);
  options_.columns.add("bad name");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { read("id,price\n"); }), "items.columns.bad name");
}

ColumnInfo info_of(const std::string& table, const std::string& name, const std::string& kind,
                   const std::string& role = "feature", std::int64_t values = 0, std::int64_t width = 1) {
  ColumnInfo out;
  out.table = table, out.name = name, out.kind = kind, out.role = role;
  out.values = values, out.width = width;
  return out;
}

/// A dataset of ragged rows with a column of each kind.
DatasetContent with_columns(std::size_t rows) {
  auto content = content_of(ragged_rows(rows));
  const auto items = static_cast<std::size_t>(content.items.size());
  TableColumn kind{
      info_of("item", "kind", "category", "feature", 4, 2), Codes(items * 2, 1), {}, {}, texts_of({"a", "b"})};
  kind.codes[5] = 3;
  TableColumn age{info_of("user", "age", "number"), {}, std::vector<float>(rows), {}, {}};
  for (std::size_t row = 0; row < rows; ++row) age.numbers[row] = static_cast<float>(row) / 8;
  TableColumn towns{
      info_of("user", "towns", "category", "teacher_only", 3, 2), Codes(rows * 2, 0), {}, {}, texts_of({"Ulm"})};
  for (std::size_t row = 0; row < rows; ++row) towns.codes[2 * row] = static_cast<std::uint32_t>(row % 3);
  TableColumn title{info_of("item", "title", "text", "shown"), {}, {}, {}, {}};
  for (std::size_t item = 0; item < items; ++item)
    title.texts.push_back(item == 3 ? "" : "title " + std::to_string(item));
  content.columns = {kind, age, towns, title};
  return content;
}

TEST(ColumnStore, KeepsWhatItIsGiven) {
  const TempFolder folder;
  const auto content = with_columns(20);
  write_dataset(content, folder / "d");
  const Dataset dataset(folder / "d");
  ASSERT_EQ(dataset.columns().size(), 4U);
  for (const auto& column : content.columns) {
    const auto found = dataset.column(column.info.full_name());
    EXPECT_EQ(found.codes, column.codes);
    EXPECT_EQ(found.numbers, column.numbers);
    EXPECT_EQ(found.texts.values, column.texts.values);
    EXPECT_EQ(found.vocabulary.values, column.vocabulary.values);
    EXPECT_EQ(found.info.role, column.info.role);
    EXPECT_EQ(found.info.hash, hash_column(column));
  }
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { (void)dataset.column("item.age"); }),
                  "it has: item.kind, user.age");
  // The same sequences: the same dataset but for the columns.
  write_dataset(content_of(ragged_rows(20)), folder / "plain");
  EXPECT_EQ(dataset.info().content_hash, Dataset(folder / "plain").info().content_hash);
  EXPECT_TRUE(Dataset(folder / "plain").columns().empty());
}

TEST(ColumnStore, ACodeBeyondTheVocabularyIsDamage) {
  const TempFolder folder;
  auto content = with_columns(20);
  content.columns[0].codes[7] = 4;
  write_dataset(content, folder / "d");
  const auto message = message_of<DataError>([&] { (void)Dataset(folder / "d").column("item.kind"); });
  EXPECT_CONTAINS(message, "columns.h5");
  EXPECT_CONTAINS(message, "row 3: code 4 is not below 4");
}

TEST(ColumnStore, BatchesHaveThoseOfUsersThatAreKept) {
  const TempFolder folder;
  write_dataset(with_columns(20), folder / "d");
  Dataset dataset(folder / "d");
  const auto plain = dataset.training_batch(all_rows(dataset), 4);
  ASSERT_EQ(plain.columns.size(), 1U);
  dataset.keep_columns({"user.towns", "item.kind", "user.age", "user.nothing"});
  for (const bool training : {true, false}) {
    const auto batch =
        training ? dataset.training_batch(all_rows(dataset), 4) : dataset.evaluation_batch(Split::kTest, 0, 20, 4);
    ASSERT_EQ(batch.columns.size(), 3U);
    const auto &age = batch.column("user.age"), &towns = batch.column("user.towns");
    ASSERT_EQ(std::ssize(age.numbers), batch.tokens());
    ASSERT_EQ(std::ssize(towns.values), 2 * batch.tokens());
    for (std::size_t s = 0; s < batch.sample_ids.size(); ++s)
      for (auto t = static_cast<std::size_t>(batch.offsets[s]); t < static_cast<std::size_t>(batch.offsets[s + 1]);
           ++t) {
        EXPECT_EQ(age.numbers[t], static_cast<float>(batch.sample_ids[s]) / 8);
        EXPECT_EQ(towns.values[2 * t], batch.sample_ids[s] % 3);
        EXPECT_EQ(towns.values[2 * t + 1], 0);
      }
  }
  PackedBatch nobody;
  nobody.offsets = {0, 2};
  dataset.user_columns().begin(nobody);
  dataset.user_columns().add(nobody, -1, 2);
  EXPECT_EQ(nobody.column("user.towns").values, (std::vector<std::int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(nobody.column("user.age").numbers, (std::vector<float>{0, 0}));
}

}  // namespace
}  // namespace decant::data
