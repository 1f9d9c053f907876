#include "data/import.h"

#include <gtest/gtest.h>

#include "data/errors.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

class Import : public testing::Test {
 protected:
  /// Imports one file of this text into out().
  ImportSummary import(const std::string& text) {
    write_text(file(), text);
    options_.files = {file().string()};
    return import_dataset(options_, out());
  }
  /// The message of the error that a line makes.
  std::string refused(const std::string& text) {
    const std::string message = message_of<DataError>([&] { import(text); });
    EXPECT_FALSE(fs::exists(out())) << "a dataset was left behind";
    EXPECT_FALSE(fs::exists(fs::path(out()) += ".tmp"));
    return message;
  }
  [[nodiscard]] fs::path file() const { return folder_ / "log.txt"; }
  [[nodiscard]] fs::path out() const { return folder_ / "dataset"; }

  TempFolder folder_;
  ImportOptions options_;
};

TEST_F(Import, KeepsTimeOrderAndFirstAppearance) {
  const ImportSummary summary = import("bob x y\nann\ty z w\nbob z\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "z"}, {"y", "z", "w"}}));
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"x", "y", "z", "w"}));
  EXPECT_EQ(summary.lines, 3);
  EXPECT_EQ(summary.events_read, 6);
  EXPECT_EQ(summary.users, 2);
  EXPECT_EQ(summary.items, 4);
  EXPECT_EQ(summary.events, 6);
  EXPECT_EQ(summary.training_only_users, 0);
}

TEST_F(Import, AcceptsEveryLineEndAndSeparator) {
  import(
      "\xef\xbb\xbf"
      "a \t x  y\r\n\r\n   \n\n b\tz \r\na w");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "w"}, {"z"}}));
}

TEST_F(Import, ReadsSeveralFilesInOrder) {
  write_text(folder_ / "1", "a x\nb y\n");
  write_text(folder_ / "2", "b z\na w");
  options_.files = {(folder_ / "1").string(), (folder_ / "2").string()};
  import_dataset(options_, out());
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "w"}, {"y", "z"}}));
}

TEST_F(Import, ReadsLinesLongerThanItsBuffer) {
  std::string text = "short 1\nlong";
  for (int i = 0; i < 400'000; ++i) text += " " + std::to_string(i % 1000);
  text += "\nlast 7\n";
  ASSERT_GT(text.size(), std::size_t{1} << 20);
  const ImportSummary summary = import(text);
  EXPECT_EQ(summary.lines, 3);
  EXPECT_EQ(summary.events, 400'002);
  const Dataset dataset(out());
  EXPECT_EQ(dataset.length(1), 400'000);
  const auto events = dataset.training_events(1);
  for (std::size_t i = 0; i < events.size(); ++i)
    ASSERT_EQ(dataset.item_name(events[i]), std::to_string(i % 1000)) << "event " << i;
}

TEST_F(Import, KeepsIdsOfEveryScriptAndOf255Bytes) {
  const std::string longest(255, 'q');
  import("пользователь 商品 é \xf0\x9f\x8e\xb5 " + longest + " 007 7\n");
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"商品", "é", "\xf0\x9f\x8e\xb5", longest, "007", "7"}));
}

TEST_F(Import, TellsManyIdsApart) {
  // More ids than the first table has room for, some sharing all but one byte.
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "user-" + std::to_string(i) + " abcdefgh" + std::to_string(i) + "\n";
  const ImportSummary summary = import(text);
  EXPECT_EQ(summary.users, 20'000);
  EXPECT_EQ(summary.items, 20'000);
  const Dataset dataset(out());
  for (std::int64_t i = 0; i < 20'000; i += 997) EXPECT_EQ(dataset.item_name(i), "abcdefgh" + std::to_string(i));
}

TEST_F(Import, RefusesALineWithoutItem) {
  const std::string message = refused("a x\n\nb\n");
  EXPECT_CONTAINS(message, file().string() + ": line 3: ");
  EXPECT_CONTAINS(message, "a user has no item");
}

TEST_F(Import, RefusesControlCharacters) {
  EXPECT_CONTAINS(refused("a x\nb y\x01z\n"), "line 2: a control character (byte 0x01)");
  EXPECT_CONTAINS(refused(std::string("a x\nb y") + '\0' + "\n"), "line 2: a control character (byte 0x00)");
  EXPECT_CONTAINS(refused("a x\rb y\n"), "line 1: a control character (byte 0x0d)");
  EXPECT_CONTAINS(refused("a \x7f\n"), "line 1: a control character (byte 0x7f)");
}

TEST_F(Import, RefusesWhatIsNotUtf8) {
  for (const char* bad :
       {"\xff", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x82"})
    EXPECT_CONTAINS(refused(std::string("a x\nb y") + bad + "\n"), "line 2: an id is not valid UTF-8");
}

TEST_F(Import, RefusesLongIds) {
  EXPECT_CONTAINS(refused("a " + std::string(256, 'x') + "\n"), "line 1: an id has 256 bytes, at most 255 are allowed");
  EXPECT_CONTAINS(refused(std::string(300, 'x') + " a\n"), "line 1: an id has 300 bytes");
}

TEST_F(Import, NamesTheFileOfALaterLine) {
  write_text(folder_ / "good", "a x\n");
  write_text(folder_ / "bad", "a x\nb y\nc\n");
  options_.files = {(folder_ / "good").string(), (folder_ / "bad").string()};
  const std::string message = message_of<DataError>([&] { import_dataset(options_, out()); });
  EXPECT_CONTAINS(message, (folder_ / "bad").string() + ": line 3: ");
}

TEST_F(Import, SkipsAndCountsMalformedLines) {
  options_.on_error = "skip";
  const ImportSummary summary = import("ghost\na x y\nspecter new\x02 item\nb y \xff\nb x\n");
  EXPECT_EQ(summary.malformed_lines, 3);
  EXPECT_EQ(summary.lines, 5);
  EXPECT_EQ(summary.events_read, 3);
  // Nothing of a skipped line is taken: not its user, not the items before the error.
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y"}, {"x"}}));
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"x", "y"}));
}

TEST_F(Import, CollapsesConsecutiveRepeatsOnly) {
  options_.duplicates = "collapse";
  const ImportSummary summary = import("a x x y x\na x z z z\nb z\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "x", "z"}, {"z"}}));
  EXPECT_EQ(summary.repeats_collapsed, 4);
  EXPECT_EQ(summary.events_read, 9);
  EXPECT_EQ(summary.events, 5);
}

TEST_F(Import, KeepsRepeatsByDefault) {
  EXPECT_EQ(import("a x x x\n").repeats_collapsed, 0);
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "x", "x"}}));
}

TEST_F(Import, KCoreIsIterated) {
  // r is rare; without r, d has one event; without d, q is rare; without q, c has one. a and b with x and y stay.
  options_.k_core = 2;
  const ImportSummary summary = import("c q x\nd r q\na x y\nb y x\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y"}, {"y", "x"}}));
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(summary.users_dropped_k_core, 2);
  EXPECT_EQ(summary.items_dropped_k_core, 2);
  EXPECT_EQ(summary.events_dropped_k_core, 4);
  EXPECT_EQ(summary.events, 4);
}

TEST_F(Import, KCoreLeavesACore) {
  std::string text;
  for (int user = 0; user < 300; ++user) {
    text += "u" + std::to_string(user);
    for (int i = 0; i < 3 + user % 9; ++i) text += " i" + std::to_string((user * 13 + i * i * 7) % (20 + user));
    text += "\n";
  }
  options_.k_core = 5;
  const ImportSummary summary = import(text);
  const Dataset dataset(out());
  std::vector<int> uses(static_cast<std::size_t>(dataset.info().items));
  for (const auto& row : named_rows(out())) {
    EXPECT_GE(row.size(), 5U);
    for (const std::string& name : row) {
      const auto names = item_names(out());
      ++uses[static_cast<std::size_t>(std::find(names.begin(), names.end(), name) - names.begin())];
    }
  }
  for (const int n : uses) EXPECT_GE(n, 5);
  EXPECT_GT(summary.users_dropped_k_core, 0);
  EXPECT_GT(summary.users, 0);
  EXPECT_EQ(summary.events + summary.events_dropped_k_core, summary.events_read);
  EXPECT_EQ(summary.users + summary.users_dropped_k_core, 300);
}

TEST_F(Import, MinEventsDropsShortUsersAndTheirItems) {
  options_.min_events = 3;
  const ImportSummary summary = import("a x lonely\nb x y z\nc y z\nd z y x w\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "z"}, {"z", "y", "x", "w"}}));
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"x", "y", "z", "w"}));
  EXPECT_EQ(summary.users_dropped_min_events, 2);
  EXPECT_EQ(summary.items_dropped_min_events, 1);
  EXPECT_EQ(summary.events_dropped_min_events, 4);
}

TEST_F(Import, CountsUsersOfTrainingOnly) { EXPECT_EQ(import("a x\nb x y\nc x y z\n").training_only_users, 2); }

TEST_F(Import, RefusesWhenNothingIsLeft) {
  options_.k_core = 50;
  const std::string message = message_of<base::ConfigError>([&] { import("a x\nb y\n"); });
  EXPECT_CONTAINS(message, "nothing is left to import of 2 lines");
  EXPECT_CONTAINS(message, "2 dropped by k_core: those of 2 users and 2 items");
  options_.files = {"log.txt", "log.txt"};
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import_dataset(options_, folder_ / "twice"); }),
                  "log.txt is named twice");
  options_.k_core = 0;
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import(""); }), "nothing is left");
}

TEST_F(Import, RefusesUnknownOptions) {
  write_text(file(), "a x\n");
  options_.files = {file().string()};
  options_.format = "parquet";
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import_dataset(options_, out()); }),
                  "unknown import format 'parquet' (known: interactions, sequences)");
  options_ = {};
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import_dataset(options_, out()); }), "no file to import");
  options_.files = {file().string()};
  options_.duplicates = "drop";
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import_dataset(options_, out()); }), "duplicates is 'drop'");
}

TEST_F(Import, NamesAFileThatIsNotThere) {
  options_.files = {(folder_ / "absent").string()};
  EXPECT_CONTAINS(message_of<base::FileError>([&] { import_dataset(options_, out()); }), (folder_ / "absent").string());
  options_.files = {folder_.path().string()};
  EXPECT_CONTAINS(message_of<base::FileError>([&] { import_dataset(options_, out()); }), "Is a directory");
}

TEST_F(Import, NeverReplacesAFolderThatIsNoDataset) {
  fs::create_directories(out());
  write_text(out() / "thesis.tex", "years of work");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { import("a x\n"); }), "thesis.tex");
  EXPECT_EQ(bytes_of(out() / "thesis.tex"), "years of work");
}

TEST_F(Import, ReplacesAnOlderDatasetAndWhatAKilledImportLeft) {
  import("a x y z\n");
  fs::create_directories(folder_ / "dataset.tmp");
  write_text(folder_ / "dataset.tmp" / "part-00000.h5", "half");
  write_text(folder_ / "dataset.tmp" / ".manifest.json.tmp-12-0", "half");
  import("b w\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"w"}}));
  EXPECT_FALSE(fs::exists(folder_ / "dataset.tmp"));
}

TEST_F(Import, AFailedImportLeavesTheOlderDataset) {
  import("a x y z\n");
  EXPECT_THROW(import("b\n"), DataError);
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "z"}}));
}

TEST_F(Import, AFullDiskLeavesTheOlderDataset) {
  import("a x y z\n");
  std::string text;
  for (int user = 0; user < 30'000; ++user) text += "user" + std::to_string(user) + " a b c d e f g h\n";
  write_text(file(), text);
  testing::internal::CaptureStderr();
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{100}, std::size_t{20'000}, std::size_t{700'000}}) {
    const FullDisk full(bytes);
    const std::string message = message_of<base::Error>([&] { import_dataset(options_, out()); });
    EXPECT_CONTAINS(message, out().string() + ".tmp") << bytes;
    EXPECT_FALSE(fs::exists(folder_ / "dataset.tmp")) << bytes;
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "z"}}));
  import_dataset(options_, out());  // there is room again
  EXPECT_EQ(Dataset(out()).info().rows, 30'000);
}

TEST_F(Import, TheSameInputGivesTheSameBytes) {
  const std::string text = "bob x y w\nann y z w q\ncy x\n";
  import(text);
  std::vector<std::string> first;
  for (const char* name : {"manifest.json", "catalogue.h5", "part-00000.h5"}) first.push_back(bytes_of(out() / name));
  ::sleep(1);  // times of objects count in seconds
  import(text);
  std::vector<std::string> second;
  for (const char* name : {"manifest.json", "catalogue.h5", "part-00000.h5"}) second.push_back(bytes_of(out() / name));
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TRUE(first[i] == second[i]) << "file " << i;
}

TEST_F(Import, KeyFollowsBytesAndOptionsNotPaths) {
  write_text(folder_ / "1", "a x\nb y\n");
  write_text(folder_ / "2", "a x\nb y\n");
  write_text(folder_ / "3", "a x\nb z\n");
  const auto key = [&](const char* name, std::int64_t k_core = 0, const char* duplicates = "keep") {
    ImportOptions options;
    options.files = {(folder_ / name).string()};
    options.k_core = k_core;
    options.duplicates = duplicates;
    return import_key(options);
  };
  EXPECT_EQ(key("1"), key("2"));
  EXPECT_NE(key("1"), key("3"));
  EXPECT_NE(key("1"), key("1", 2));
  EXPECT_NE(key("1"), key("1", 0, "collapse"));
  ImportOptions both;
  both.files = {(folder_ / "1").string(), (folder_ / "3").string()};
  ImportOptions turned;
  turned.files = {(folder_ / "3").string(), (folder_ / "1").string()};
  EXPECT_NE(import_key(both), import_key(turned));
}

TEST_F(Import, TheDatasetCarriesItsKey) {
  import("a x\nb y\n");
  EXPECT_EQ(Dataset(out()).info().import_key, import_key(options_));
}

TEST_F(Import, HashesFollowContentOnly) {
  import("a x y z\nb y\n");
  const DatasetInfo first = Dataset(out()).info();
  import("other x y\nother z\nname y\n");  // other users, the same events and items
  EXPECT_EQ(Dataset(out()).info().content_hash, first.content_hash);
  EXPECT_EQ(Dataset(out()).info().catalogue_hash, first.catalogue_hash);
  import("a x y\nb z y\n");  // the same events in other rows
  EXPECT_NE(Dataset(out()).info().content_hash, first.content_hash);
  EXPECT_EQ(Dataset(out()).info().catalogue_hash, first.catalogue_hash);
  import("a x y zz\nb y\n");  // another name
  EXPECT_NE(Dataset(out()).info().catalogue_hash, first.catalogue_hash);
  EXPECT_NE(Dataset(out()).info().content_hash, first.content_hash);
}

TEST_F(Import, ReportsProgressToTheEnd) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "u" + std::to_string(i) + " i1 i2 i3\n";
  write_text(file(), text);
  options_.files = {file().string()};
  std::int64_t last = -1, total = 0;
  import_dataset(options_, out(), [&](std::int64_t done, std::int64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
  });
  EXPECT_EQ(total, static_cast<std::int64_t>(text.size()));
  EXPECT_EQ(last, total);
}

TEST(ImportOptionsTest, AreReadFromAJobFile) {
  ImportOptions options;
  base::read_options(base::Json::parse(R"({"files": ["a", "b"], "k_core": 5, "duplicates": "collapse"})"), options);
  EXPECT_EQ(options.files, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options.k_core, 5);
  EXPECT_THROW(base::read_options(base::Json::parse(R"({"k_core": -1})"), options), base::ConfigError);
  EXPECT_THROW(base::read_options(base::Json::parse(R"({"on_error": "ignore"})"), options), base::ConfigError);
}

}  // namespace
}  // namespace decant::data
