// Histories whose events tell more than their items: what a dataset has of the same events, to the bit.
#include "data/history_events.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "data/errors.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;
using base::Json;
using Items = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

const Names kAll{"event.kind", "event.price", "event.shop", "event.gap"};

/// A log with everything that is awkward: kinds that are dropped, prices and shops that are missing, rare or new, times out
/// of order, and several events of one moment.
class Histories : public testing::Test {
 protected:
  struct Line {
    std::string user, item, time, kind, price, shop;
  };

  Histories() {
    options_.format = "interactions";
    own_.event = "kind", own_.keep_events = {"view", "cart", "buy"},
    own_.event_weights = {"view=0.5", "cart=1", "buy=1"};
    own_.keep_time = true, own_.time_format = "%d/%m/%Y %H:%M", own_.empty_values = {"NA", "?"};
    ColumnOptions& price = own_.context.add("price");
    price.kind = "number", price.column = "cost", price.transform = "log", price.negative = "fill";
    own_.context.add("shop").min_count = 3;
    options_.k_core = 2;
  }

  void make_log() {
    std::mt19937 draw(11);  // NOLINT(*-msc51-cpp): the same log every time
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(draw() % n); };
    for (std::size_t user = 0; user < 30; ++user) {
      for (std::size_t event = 0, events = 3 + below(9); event < events; ++event) {
        const auto hour = below(24);
        lines_.push_back(
            {"u" + std::to_string(user),
             below(12) == 0 ? "once" + std::to_string(lines_.size()) : "i" + std::to_string(below(25)),
             "0" + std::to_string(1 + below(9)) + "/05/2024 " + (hour < 10 ? "0" : "") + std::to_string(hour) + ":00",
             Names{"view", "cart", "buy", "ignored"}[below(4)], Names{"1.5", "20", "-3", "NA", "?", " 7 "}[below(6)],
             Names{"north", "south", "", "once " + std::to_string(event)}[below(4)]});
      }
    }
  }

  void import() {
    std::string text = "user,item,time,kind,cost,shop\n";
    for (const auto& [user, item, time, kind, price, shop] : lines_)
      text += base::join({user, item, time, kind, price, shop}, ",") + "\n";
    write_text(folder_ / "log.csv", text);
    options_.files = {(folder_ / "log.csv").string()};
    import_dataset(options_, folder_ / "d");
    dataset_ = std::make_unique<Dataset>(folder_ / "d");
  }
  /// The small log of most tests.
  void import_small() {
    lines_ = {{"u", "a", "01/05/2024 10:00", "view", "1", "north"},
              {"u", "b", "01/05/2024 10:01", "cart", "3", "north"},
              {"u", "a", "01/05/2024 10:05", "view", "1", "north"},
              {"u", "b", "01/05/2024 11:00", "view", "2", "south"},
              {"u", "a", "01/05/2024 12:00", "cart", "2", "north"}};
    import();
  }

  [[nodiscard]] ItemNumber numbers() const {
    return [this](std::string_view id) {
      for (std::int64_t item = 0; item < dataset_->info().items; ++item)
        if (dataset_->item_name(item) == id) return item;
      return std::int64_t{-1};
    };
  }
  [[nodiscard]] HistoryEvents read(const std::string& list, const Names& asked = kAll) const {
    HistoryEvents out;
    EXPECT_EQ(history_fields(*dataset_, asked).read(Json::parse(list), numbers(), out), "");
    return out;
  }
  [[nodiscard]] std::string wrong(const std::string& list) const {
    HistoryEvents out;
    return history_fields(*dataset_, kAll).read(Json::parse(list), numbers(), out);
  }

  TempFolder folder_;
  ImportOptions options_;
  InteractionOptions& own_ = options_.interactions;
  std::vector<Line> lines_;
  std::unique_ptr<Dataset> dataset_;
};

TEST_F(Histories, AreToModelsWhatTheEvaluationHasOfThem) {
  make_log();
  import();
  dataset_->keep_columns(kAll);
  constexpr std::int64_t kWindow = 4;
  const auto fields = history_fields(*dataset_, kAll);
  const EventColumns columns(fields.columns());
  std::map<std::string, std::int64_t> rows;
  dataset_->visit_users([&](std::int64_t row, std::string_view user) { rows.emplace(user, row); });
  std::int64_t compared = 0, passed_over = 0;
  for (const auto& [user, row] : rows) {
    const auto wanted = dataset_->evaluation_batch(Split::kTest, row, 1, kWindow);
    if (wanted.targets() == 0) continue;
    // All events of the user as the log has them, but for those that the import drops; the last one is the target.
    Json list = Json::array();
    for (const auto& line : lines_)
      if (line.user == user && line.kind != "ignored")
        list.push_back({{"item", line.item},
                        {"time", line.time},
                        {"event", line.kind},
                        {"price", line.price},
                        {"shop", line.shop}});
    HistoryEvents found;
    ASSERT_EQ(fields.read(list, numbers(), found), "");
    ASSERT_EQ(static_cast<std::int64_t>(found.items.size()), dataset_->length(row)) << user;
    passed_over += found.unknown;
    const auto before = found.items.size() - 1, first = before - std::min<std::size_t>(before, kWindow);
    EXPECT_EQ(found.items.back(), wanted.target_ids.front());
    EXPECT_EQ(Items(found.items.begin() + static_cast<std::ptrdiff_t>(first), found.items.end() - 1),
              wanted.column("items").values);
    PackedBatch batch;
    columns.begin(batch);
    for (std::size_t c = 0; c < columns.columns().size(); ++c) {
      columns.add(batch, c, found.values.at(c).all(), first, before - first);
      const auto& column = wanted.column(columns.columns()[c].full_name());
      EXPECT_EQ(batch.columns[c].values, column.values) << user << " " << column.name;
      EXPECT_EQ(batch.columns[c].numbers, column.numbers) << user << " " << column.name;
    }
    ++compared;
  }
  EXPECT_GT(compared, 20);
  EXPECT_GT(passed_over, 0);  // k_core has left items out
}

TEST_F(Histories, AreSortedByTime) {
  import_small();
  const auto found = read(R"([{"item": "a", "time": "02/05/2024 10:00"}, {"item": "b", "time": "01/05/2024 10:00"},
                              {"item": "a", "time": "01/05/2024 10:00"}])");
  EXPECT_EQ(found.items, (Items{1, 0, 0}));
  ASSERT_EQ(found.values.size(), 4U);
  EXPECT_EQ(found.values.back().times[2] - found.values.back().times[1], std::int64_t{24} * 3600 * 1'000'000);
  // Events whose item is not known are not there: the gap is from the one before them.
  const auto less = read(R"([{"item": "a", "time": "01/05/2024 10:00"}, {"item": "new", "time": "01/05/2024 10:01"},
                             {"item": "b", "time": "01/05/2024 10:02"}])");
  EXPECT_EQ(less.items, (Items{0, 1}));
  EXPECT_EQ(less.unknown, 1);
  PackedBatch batch;
  const EventColumns gap({history_fields(*dataset_, kAll).columns().back()});
  gap.begin(batch);
  gap.add(batch, 0, less.values.back().all(), 0, 2);
  EXPECT_EQ(batch.columns.front().values, (Items{kMissingCode, gap_code(0, 120'000'000)}));
}

TEST_F(Histories, ValuesThatAreMissingOrNewAreCodedAsInTraining) {
  import_small();
  const auto found =
      read(R"([{"item": "a", "event": "view", "price": -2, "shop": "north"}, {"item": "a", "event": null},
                              {"item": "a", "event": "?", "price": "NA", "shop": "west"}, {"item": "a", "event": "buy"}, "b"])");
  ASSERT_EQ(found.values.size(), 4U);
  EXPECT_EQ(found.values[0].codes,
            (std::vector<std::uint32_t>{2, kMissingCode, kMissingCode, kOtherCode, kMissingCode}));
  EXPECT_EQ(found.values[1].numbers, (std::vector<float>{0, 0, 0, 0, 0}));  // 'negative: fill'
  EXPECT_EQ(found.values[2].codes, (std::vector<std::uint32_t>{2, 0, kOtherCode, 0, 0}));
  EXPECT_TRUE(found.values[3].times.empty());
  const auto silent = read(R"([{"item": "b"}, {"item": "a", "event": ""}, "a"])");
  EXPECT_EQ(silent.items, (Items{1, 0, 0}));
  EXPECT_TRUE(silent.values.empty());
  // Columns that nobody asked for are known, and not looked at.
  const auto asked = read(R"([{"item": "a", "event": "view", "price": "dear", "shop": "north"}])", {"event.shop"});
  ASSERT_EQ(asked.values.size(), 1U);
  EXPECT_EQ(asked.values[0].codes, std::vector<std::uint32_t>{2});
}

TEST_F(Histories, AreRefusedByEventAndField) {
  import_small();
  const std::string good = R"({"item": "a", "time": "01/05/2024 10:00"})";
  EXPECT_EQ(wrong("[" + good + R"(, {"item": "b", "time": "2024-05-01"}])"),
            "event 2: time '2024-05-01' is no time of the format '%d/%m/%Y %H:%M'");
  EXPECT_EQ(wrong("[" + good + R"(, {"item": "new"}])"), "event 2: there is no time, and other events have one");
  EXPECT_EQ(wrong("[" + good + R"(, "a"])"), "event 2: there is no time, and other events have one");
  EXPECT_EQ(wrong(R"([{"time": "01/05/2024 10:00"}])"), "event 1: there is no item");
  EXPECT_EQ(wrong(R"([{"item": " "}])"), "event 1: there is no item");
  EXPECT_EQ(wrong(R"([{"item": ["a"]}])"), "event 1: item: a list or an object is no value");
  EXPECT_EQ(wrong(R"([{"item": "a", "tiem": 1}])"),
            "event 1: 'tiem' is no field of an event (known: item, time, event, price, shop)");
  EXPECT_EQ(wrong(R"([{"item": "a", "event": "ignored"}])"),
            "event 1: event 'ignored' is of a kind that the import drops (it keeps: view, cart, buy)");
  EXPECT_EQ(wrong(R"([{"item": "a", "price": "dear"}])"), "event 1: price: 'dear' is no finite number");
  EXPECT_EQ(wrong(R"([{"item": "a", "price": true}])"), "event 1: price: 'true' is no finite number");
  EXPECT_EQ(wrong(R"([{"item": "a", "price": "1e999"}])"), "event 1: price: '1e999' is no finite number");
  EXPECT_CONTAINS(wrong(R"([{"item": "a", "shop": "\u0001"}])"), "event 1: shop: an id has a control character");
  EXPECT_CONTAINS(wrong(R"([{"item": "a", "event.gap": 1}])"), "'event.gap' is no field of an event");
}

TEST_F(Histories, RefuseNumbersThatTheImportDropsOrRefuses) {
  own_.context.clear();
  ColumnOptions& price = own_.context.add("price");
  price.kind = "number", price.column = "cost", price.negative = "drop", price.missing = "drop";
  import_small();
  EXPECT_EQ(wrong(R"([{"item": "a", "price": -1}])"),
            "event 1: price: '-1' is below 0, and the import drops such events ('negative: drop')");
  EXPECT_EQ(wrong(R"([{"item": "a", "price": null}])"), "");
  price.negative = "stop";
  import();
  EXPECT_EQ(wrong(R"([{"item": "a", "price": -1}])"),
            "event 1: price: '-1' is below 0, and the options say 'negative: stop'");
}

TEST_F(Histories, ADatasetThatNobodyImportedHasTheDefaults) {
  EventColumn kind{{.table = "event", .name = "kind", .kind = "category", .values = 3, .hash = ""}, {}};
  kind.vocabulary.push_back("view");
  EventColumn item{{.table = "event", .name = "item", .kind = "number", .mean = 1, .deviation = 2, .hash = ""}, {}};
  const HistoryFields fields({}, {kind, item}, {"event.kind", "event.item"});
  HistoryEvents found;
  const auto list = Json::parse(
      R"([{"item": "b", "time": 1714557600, "event": "view", "event.item": 5}, {"item": "c", "time": "2024-04-01"}])");
  const auto number = [](std::string_view id) { return static_cast<std::int64_t>(id.front() - 'a'); };
  EXPECT_EQ(fields.read(list, number, found), "");
  EXPECT_EQ(found.items, (Items{2, 1}));
  EXPECT_EQ(found.values[0].codes, (std::vector<std::uint32_t>{0, 2}));
  EXPECT_EQ(found.values[1].numbers, (std::vector<float>{0, 2}));
  item.info.deviation = 1e-3;
  const HistoryFields narrow({}, {item}, {"event.item"});
  EXPECT_CONTAINS(narrow.read(Json::parse(R"([{"item": "a", "event.item": 3e38}])"), number, found),
                  "event.item: '3e+38' is beyond what training has seen");
}

TEST_F(Histories, ADatasetWithWrongOptionsIsDamaged) {
  import_small();
  const auto path = folder_ / "d" / kManifestName;
  auto manifest = base::load_document(path, kDatasetFormat, kDatasetVersion);
  manifest["import"]["interactions"]["context"]["price"]["negative"] = "perhaps";
  base::save_document(path, kDatasetFormat, static_cast<int>(manifest["version"]), manifest);
  const auto message = message_of<DataError>([&] { (void)history_fields(*dataset_, kAll); });
  EXPECT_CONTAINS(message, "manifest.json: ");
  EXPECT_CONTAINS(message, "import.interactions.context.price.negative");
}

}  // namespace
}  // namespace decant::data
