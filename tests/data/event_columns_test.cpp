// Columns of events: how a log gives them, what is stored, and how they are read.
#include <gtest/gtest.h>

#include <cmath>

#include "data/byte_size.h"
#include "data/dataset_reader.h"
#include "data/errors.h"
#include "data/hdf5_file.h"
#include "data/import.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;
using Names = std::vector<std::string>;

constexpr std::size_t kCache = std::size_t{1} << 20;

class EventColumns : public testing::Test {
 protected:
  EventColumns() { options_.format = "interactions"; }
  ImportSummary import(const std::string& text) {
    write_text(folder_ / "log.csv", text);
    options_.files = {(folder_ / "log.csv").string()};
    return import_dataset(options_, out());
  }
  [[nodiscard]] std::string misconfigured() {
    return message_of<base::ConfigError>([&] { import("user,item,time,kind\na,x,1,view\n"); });
  }
  /// Values of a category as texts, of a number or time as they are.
  [[nodiscard]] Names values(const std::string& name, std::int64_t row) const {
    DatasetReader reader(out(), kCache);
    const std::size_t column = reader.find_column("event." + name).value();
    const RowValues found = reader.values(row, column);
    Names out;
    if (reader.columns()[column].kind == "category") {
      const TextColumn texts = reader.vocabulary(column);
      for (const std::uint32_t code : found.codes)
        out.push_back(code == kMissingCode ? "missing"
                      : code == kOtherCode ? "other"
                                           : std::string(texts.at(code - kFirstValueCode)));
    }
    for (const std::int64_t time : found.times) out.push_back(std::to_string(time));
    for (const float number : found.numbers) out.push_back(base::Json(number).dump());
    return out;
  }
  [[nodiscard]] ColumnInfo info(const std::string& name) const {
    DatasetReader reader(out(), kCache);
    return reader.columns().at(reader.find_column("event." + name).value());
  }
  [[nodiscard]] fs::path out() const { return folder_ / "dataset"; }

  TempFolder folder_;
  ImportOptions options_;
  InteractionOptions& own_ = options_.interactions;
};

TEST_F(EventColumns, FollowTheirEvents) {
  own_.event = "kind", own_.keep_time = true, own_.event_weights = {"buy=1", "view=0.25", "cart=0.5"};
  import(
      "user,item,time,kind\n"
      "a,z,30,buy\na,x,10,view\nb,x,5,cart\na,y,20,view\na,w,40,cart\n");
  EXPECT_EQ(values("kind", 0), (Names{"view", "view", "other", "cart"}));  // buy is never trained on
  EXPECT_EQ(values("kind", 1), (Names{"cart"}));
  EXPECT_EQ(values("weight", 0), (Names{"0.25", "0.25", "1.0", "0.5"}));
  EXPECT_EQ(values("time", 0), (Names{"10000000", "20000000", "30000000", "40000000"}));
  EXPECT_EQ(info("kind").values, 4);  // view and cart (of b) beside missing and other
  EXPECT_EQ(info("weight").role, "weight");
  EXPECT_EQ(info("time").kind, "time");
  const auto inspected = inspect_dataset(out());
  EXPECT_EQ(inspected["version"], 2);
  EXPECT_EQ(inspected["columns"]["event.kind"]["kind"], "category");
  EXPECT_EQ(inspected["columns"]["event.kind"]["values"], 4);
}

TEST_F(EventColumns, WeighTargets) {
  own_.event = "kind", own_.event_weights = {"buy=2", "view=0.5"};
  import("user,item,time,kind\na,1,1,view\na,2,2,buy\na,3,3,view\na,4,4,buy\na,5,5,buy\nb,1,1,buy\nb,2,2,buy\n");
  const Dataset dataset(out());
  EXPECT_EQ(dataset.training_batch({0, 1}, 10).target_weights, (std::vector<float>{2, 0.5, 2}));
  EXPECT_EQ(dataset.training_batch({0, 1}, 1).target_weights, (std::vector<float>{0.5, 2}));
  EXPECT_EQ(dataset.evaluation_batch(Split::kTest, 0, 2, 10).target_weights, std::vector<float>{1});
}

TEST_F(EventColumns, AreCarriedThroughEveryFilter) {
  own_.event = "kind", own_.same_event = "drop", own_.session_gap = 1, own_.keep_time = true;
  options_.duplicates = "collapse", options_.k_core = 2;
  import(
      "user,item,time,kind\n"
      "a,x,1,p\na,x,1,q\na,rare,2,r\na,y,3,s\na,y,4,t\n"  // q is the same event, rare is rare, t a repeat
      "a,y,1000,u\na,x,1001,v\n"                          // another session
      "b,lonely,7,w\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y"}, {"y", "x"}}));
  EXPECT_EQ(values("kind", 0), (Names{"p", "s"}));
  EXPECT_EQ(values("kind", 1), (Names{"u", "v"}));
  EXPECT_EQ(values("time", 1), (Names{"1000000000", "1001000000"}));
}

TEST_F(EventColumns, OfContextAreEncodedByTraining) {
  ColumnOptions& price = own_.context.add("price");
  price.kind = "number", price.column = "cost", price.teacher_only = true;
  own_.context.add("shop");
  import(
      "user,item,time,cost,shop\n"
      "a,1,1,10,north\na,2,2,20,north\na,3,3,,south\na,4,4,30,\na,5,5,1000,west\na,6,6,40,north\n");
  const ColumnInfo found = info("price");
  EXPECT_EQ(found.role, "teacher_only");
  EXPECT_EQ(found.missing, 1);
  EXPECT_NEAR(found.mean, 20, 1e-9);  // of 10, 20 and 30: what follows is valid's and test's
  EXPECT_NEAR(found.deviation, std::sqrt(200.0 / 3), 1e-6);
  DatasetReader reader(out(), kCache);
  const auto numbers = reader.values(0, reader.find_column("event.price").value());
  ASSERT_EQ(numbers.numbers.size(), 6U);
  EXPECT_EQ(numbers.numbers[1], 0);
  EXPECT_EQ(numbers.numbers[2], 0);  // missing: the mean
  EXPECT_NEAR(numbers.numbers[5], 20 / std::sqrt(200.0 / 3), 1e-6);
  EXPECT_EQ(values("shop", 0), (Names{"north", "north", "south", "missing", "other", "north"}));
  EXPECT_EQ(info("shop").missing, 1);
}

TEST_F(EventColumns, CanDropAndRefuseEvents) {
  ColumnOptions& price = own_.context.add("price");
  price.kind = "number", price.missing = "drop", price.negative = "stop";
  const auto summary = import("user,item,time,price\na,x,1,5\na,y,2,\na,z,3,7\n");
  EXPECT_EQ(summary.interactions->unwanted_values, 1);
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "z"}}));
  EXPECT_CONTAINS(message_of<DataError>([&] { import("user,item,time,price\na,x,1,-5\n"); }),
                  "line 2: price: '-5' is below 0");
  EXPECT_CONTAINS(message_of<DataError>([&] { import("user,item,time,price\na,x,1,dear\n"); }),
                  "line 2: price: 'dear' is no finite number");
  EXPECT_CONTAINS(message_of<DataError>([&] { import("user,item,time\na,x,1\n"); }), "no column 'price'");
}

TEST_F(EventColumns, AKindWithoutAWeightIsMalformed) {
  own_.event = "kind", own_.event_weights = {"buy=1"};
  const std::string text = "user,item,time,kind\na,x,1,buy\na,y,2,view\n";
  EXPECT_CONTAINS(message_of<DataError>([&] { import(text); }),
                  "line 3: weight: 'interactions.event_weights' has none for the kind 'view'");
  own_.keep_events = {"buy"};
  import(text);
  EXPECT_EQ(values("weight", 0), Names{"1.0"});
  EXPECT_EQ(DatasetReader(out(), kCache).columns().size(), 1U);  // one kind tells nothing
}

TEST_F(EventColumns, HashesCoverThem) {
  own_.event = "kind";
  import("user,item,time,kind\na,x,1,p\na,y,2,q\n");
  const std::string kinds = info("kind").hash, sequences = Dataset(out()).info().content_hash;
  import("user,item,time,kind\na,x,1,q\na,y,2,q\n");
  EXPECT_NE(info("kind").hash, kinds);
  EXPECT_EQ(Dataset(out()).info().content_hash, sequences);  // only those who take the column are of another dataset
  // Weights are everybody's.
  std::string weighted;
  for (const char* weights : {"q=1", "q=2"}) {
    own_.event_weights = {weights};
    import("user,item,time,kind\na,x,1,q\na,y,2,q\n");
    EXPECT_NE(Dataset(out()).info().content_hash, weighted);
    EXPECT_NE(Dataset(out()).info().content_hash, sequences);
    weighted = Dataset(out()).info().content_hash;
  }
}

TEST_F(EventColumns, DamageIsFoundWhereTheyAreRead) {
  own_.event = "kind", own_.keep_time = true;
  import("user,item,time,kind\na,x,1,p\na,y,2,q\na,z,3,q\n");
  const fs::path part = out() / "part-00000.h5";
  const std::string times("\x40\x42\x0f\0\0\0\0\0", 8);  // of 1 s in microseconds
  const std::size_t at = bytes_of(part).find(times);
  ASSERT_NE(at, std::string::npos);
  poke(part, at, '\x41');
  DatasetReader reader(out(), kCache);
  EXPECT_EQ(reader.values(0, reader.find_column("event.kind").value()).codes.size(), 3U);  // nobody asked for times
  const std::string message =
      message_of<DataError>([&] { (void)reader.values(0, reader.find_column("event.time").value()); });
  EXPECT_CONTAINS(message, "/events/time/values");
}

TEST_F(EventColumns, AreReadAcrossBlocks) {
  own_.event = "kind";
  std::string text = "user,item,time,kind\n";
  for (int user = 0; user < 5000; ++user)
    for (int i = 0; i < 1 + user % 3; ++i)
      text += "u" + std::to_string(user) + ",i" + std::to_string(i) + "," + std::to_string(i) + ",k" +
              std::to_string((user + i) % 7) + "\n";
  import(text);
  DatasetReader reader(out(), 1);
  const TextColumn texts = reader.vocabulary(0);
  for (std::int64_t row = 4999; row >= 0; row -= 7) {
    const RowValues found = reader.values(row, 0);
    ASSERT_EQ(found.codes.size(), static_cast<std::size_t>(1 + row % 3));
    for (std::size_t i = 0; i < found.codes.size(); ++i)
      ASSERT_EQ(texts.at(found.codes[i] - kFirstValueCode), "k" + std::to_string((row + static_cast<int>(i)) % 7));
  }
}

TEST_F(EventColumns, OptionsThatCannotBe) {
  own_.event_weights = {"buy=1"};
  EXPECT_CONTAINS(misconfigured(), "'interactions.event_weights' needs a column");
  own_.event = "kind";
  for (const char* wrong : {"buy", "buy=", "buy=-1", "buy=inf", "buy=1x"}) {
    own_.event_weights = {wrong};
    EXPECT_CONTAINS(misconfigured(), "'interactions.event_weights' has '" + std::string(wrong) + "'");
  }
  own_.event_weights = {"buy=1", "buy=2"};
  EXPECT_CONTAINS(misconfigured(), "once each");
  own_.event_weights = {}, own_.keep_time = true, own_.time = "";
  EXPECT_CONTAINS(misconfigured(), "'interactions.keep_time' needs a column");
  own_.keep_time = false, own_.time = "time";
  own_.context.add("kind");
  EXPECT_CONTAINS(misconfigured(), "choose another name");
  own_.context.clear();
  own_.context.add("tags").separator = "|";
  EXPECT_CONTAINS(misconfigured(), "an event has one category or number");
}

TEST(ByteSize, ReadsUnits) {
  EXPECT_EQ(byte_size("1024", "m"), 1024U);
  EXPECT_EQ(byte_size("2GiB", "m"), std::size_t{2} << 30);
  EXPECT_EQ(byte_size("1.5 KB", "m"), 1500U);
  for (const char* wrong : {"", "GiB", "2 gallons", "-1MiB", "1e99", "nan"})
    EXPECT_CONTAINS(message_of<base::ConfigError>([&] { (void)byte_size(wrong, "memory"); }), "'memory' is '");
}

}  // namespace
}  // namespace decant::data
