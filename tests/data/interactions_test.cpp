// Logs of interactions: one event a line, in any order, in whatever shape shops write them.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

#include "data/delimited.h"
#include "data/errors.h"
#include "data/import.h"
#include "data/interaction_records.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;
using Columns = std::vector<std::string_view>;

class Interactions : public testing::Test {
 protected:
  Interactions() { options_.format = "interactions"; }
  ImportSummary import(const std::string& text) {
    write_text(file(), text);
    options_.files = {file().string()};
    return import_dataset(options_, out());
  }
  std::string refused(const std::string& text) {
    const std::string message = message_of<DataError>([&] { import(text); });
    EXPECT_FALSE(fs::exists(out())) << "a dataset was left behind";
    return message;
  }
  std::string misconfigured(const std::string& text = "user,item,time\na,x,1\n") {
    return message_of<base::ConfigError>([&] { import(text); });
  }
  [[nodiscard]] std::vector<std::string> users() const {
    std::vector<std::string> names;
    Dataset(out()).visit_users([&](auto, auto name) { names.emplace_back(name); });
    return names;
  }
  [[nodiscard]] fs::path file() const { return folder_ / "log.csv"; }
  [[nodiscard]] fs::path out() const { return folder_ / "dataset"; }

  TempFolder folder_;
  ImportOptions options_;
  InteractionOptions& own_ = options_.interactions;
};

TEST(ColumnSplitter, FollowsRfc4180) {
  ColumnSplitter comma(",", true);
  Columns columns;
  const auto split = [&](std::string_view text) { return comma.split(text, columns); };
  EXPECT_EQ(split("a,b,c"), ColumnSplitter::End::kWhole);
  EXPECT_EQ(columns, (Columns{"a", "b", "c"}));
  EXPECT_EQ(split(",,"), ColumnSplitter::End::kWhole);
  EXPECT_EQ(columns, (Columns{"", "", ""}));
  EXPECT_EQ(split("\"a,b\",\"\",\"say \"\"hi\"\"\",d\"e"), ColumnSplitter::End::kWhole);
  EXPECT_EQ(columns, (Columns{"a,b", "", "say \"hi\"", "d\"e"}));
  EXPECT_EQ(split("\"\"\"\"\"\",\"\"\"\""), ColumnSplitter::End::kWhole);
  EXPECT_EQ(columns, (Columns{"\"\"", "\""}));
  EXPECT_EQ(split("a,\"b"), ColumnSplitter::End::kOpenQuote);
  EXPECT_EQ(split("a,\"b\"\""), ColumnSplitter::End::kOpenQuote);
  EXPECT_EQ(split("\"a\"b,c"), ColumnSplitter::End::kTextAfterQuote);
  EXPECT_EQ(split("\"a\nb\",c"), ColumnSplitter::End::kWhole);
  EXPECT_EQ(columns, (Columns{"a\nb", "c"}));
  ColumnSplitter doubled("::", false);
  EXPECT_EQ(doubled.split("1::\"x::3:", columns), ColumnSplitter::End::kWhole);
  EXPECT_EQ(columns, (Columns{"1", "\"x", "3:"}));
}

TEST_F(Interactions, AreSortedByTimeAndKeepTheOrderOfLinesWithinOne) {
  const auto summary = import("time,user,item,price\n30,a,z,1\n10,b,y,2\n10,a,x,3\n20,a,y,4\n20,a,w,5\n\n5,b,x,6\n");
  EXPECT_EQ(users(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y", "w", "z"}, {"x", "y"}}));
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"z", "y", "x", "w"}));
  EXPECT_EQ(summary.lines, 6);
  EXPECT_EQ(summary.events, 6);
  EXPECT_EQ(summary.interactions->first_time, "1970-01-01 00:00:05");
  EXPECT_EQ(summary.interactions->last_time, "1970-01-01 00:00:30");
}

TEST_F(Interactions, WithoutTimeTheLinesAreInOrder) {
  own_.time = "";
  import("user,item\na,z\nb,y\na,x\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"z", "x"}, {"y"}}));
}

TEST_F(Interactions, OfSeveralFilesAreOneLog) {
  write_text(folder_ / "1", "user,item,time\na,x,2\n");
  write_text(folder_ / "2", "item,time,user\ny,1,a\n");  // another order of columns
  options_.files = {(folder_ / "1").string(), (folder_ / "2").string()};
  import_dataset(options_, out());
  EXPECT_EQ(named_rows(out()), (Rows{{"y", "x"}}));
}

TEST_F(Interactions, ColumnsByNumberAndAnySeparator) {
  own_.header = false, own_.separator = "::";
  own_.user = "1", own_.item = "2", own_.time = "4", own_.rating = "3", own_.min_rating = 4;
  const auto summary = import("7::x y::5::20\n7::z::4::10\n7::w::3::30\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"z", "x y"}}));
  EXPECT_EQ(summary.interactions->below_rating, 1);
  own_.separator = "tab";
  import("7\tx\t5\t20\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x"}}));
}

TEST_F(Interactions, QuotedValuesMayHaveSeparatorsAndLineEnds) {
  own_.item = "name";
  import("user,\"name\",time\r\na,\"mug, \"\"blue\"\"\",1\r\na,\"cup\",2\r\n\"a\",pot,\"3\"\r\n");
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"mug, \"blue\"", "cup", "pot"}));
  own_.item = "item";
  import("note,user,item,time\n\"two\nlines, with a comma\",a,x,2\nb,a,y,1\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"y", "x"}}));
  own_.quotes = false;
  import("user,item,time\na,\"x,1\n");
  EXPECT_EQ(item_names(out()), (std::vector<std::string>{"\"x"}));
}

TEST_F(Interactions, JsonLines) {
  own_.lines = "json";
  own_.user = "/customer/id", own_.item = "sku", own_.time = "at", own_.event = "kind";
  own_.keep_events = {"buy"};
  const auto summary = import(
      "{\"customer\": {\"id\": 7}, \"sku\": \"x\", \"at\": \"2020-01-02\", \"kind\": \"buy\"}\n"
      "{\"customer\": {\"id\": 7}, \"sku\": \"w\", \"at\": \"2020-01-02\", \"kind\": \"view\"}\n"
      "\n{\"at\": 1577836800, \"sku\": \"\\u00e9\", \"customer\": {\"id\": 7}, \"kind\": \"buy\"}\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"é", "x"}}));
  EXPECT_EQ(users(), std::vector<std::string>{"7"});
  EXPECT_EQ(summary.interactions->other_kinds, 1);
}

TEST_F(Interactions, WhatLeavesNothingIsTold) {
  own_.event = "event", own_.keep_events = {"purchase, cart"};  // one kind, where two were meant
  const auto message =
      message_of<base::ConfigError>([&] { import("user,item,time,event\na,x,1,cart\na,y,2,purchase\n"); });
  EXPECT_CONTAINS(message, "nothing is left to import of 2 lines: 2 dropped: of kinds that are not kept");
}

TEST_F(Interactions, WhatIsDroppedIsCounted) {
  own_.event = "event", own_.keep_events = {"purchase", "cart"};
  own_.quantity = "n", own_.missing = "drop", own_.same_event = "drop";
  own_.from = "2020-01-02", own_.until = "2020-02-01";
  const auto summary = import(
      "user,item,time,event,n\n"
      "a,x,2020-01-02,purchase,1\n"
      "a,x,2020-01-02,purchase,1\n"   // the same again
      "a,y,2020-01-03,view,1\n"       // another kind
      "a,y,2020-01-03,purchase,-1\n"  // returned
      "a,y,2020-01-03,purchase,0\n"
      "NA,y,2020-01-03,purchase,1\n"  // nobody
      "a,,2020-01-03,purchase,1\n"
      "a,y,2020-01-01,purchase,1\n"  // too early
      "a,y,2020-02-01,purchase,1\n"  // too late
      "a,y,2020-01-31 23:59,cart,2.5\n");
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y"}}));
  const auto& counts = *summary.interactions;
  EXPECT_EQ(counts.same_events, 1);
  EXPECT_EQ(counts.other_kinds, 1);
  EXPECT_EQ(counts.without_quantity, 2);
  EXPECT_EQ(counts.missing_values, 2);
  EXPECT_EQ(counts.outside_time, 2);
  EXPECT_EQ(summary.lines, 10);
  EXPECT_EQ(summary.events_read, 3);
  EXPECT_EQ(counts.last_time, "2020-01-31 23:59:00");
}

TEST_F(Interactions, SessionsAreUsersOfTheirOwn) {
  own_.session_gap = 30;
  const auto summary = import(
      "user,item,time\na,y,2020-01-01 10:30\na,x,2020-01-01 10:00\na,z,2020-01-01 11:00:01\nb,x,2020-01-01 10:10\n");
  EXPECT_EQ(users(), (std::vector<std::string>{"a#1", "a#2", "b#1"}));
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y"}, {"z"}, {"x"}}));
  EXPECT_EQ(summary.interactions->sessions, 3);
}

TEST_F(Interactions, ColdTestTargetsAreCounted) {
  const auto summary = import("user,item,time\na,x,1\na,y,2\na,z,3\nb,x,1\nb,x,2\nb,x,3\n");
  EXPECT_EQ(summary.cold_test_targets, 1);  // z; x was trained on
}

void write_gzip(const fs::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  gzclose(file);
}

void write_zstd(const fs::path& path, const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  write_text(path, packed);
}

std::string long_log() {
  std::string text = "user,item,time\n";
  for (int i = 0; i < 200'000; ++i)
    text +=
        "user-" + std::to_string(i % 999) + ",item-" + std::to_string(i * 7 % 1234) + "," + std::to_string(i) + "\n";
  return text;
}

TEST_F(Interactions, CompressedFilesAreReadAsTheyAre) {
  const std::string text = long_log();
  import(text);
  const std::string plain = Dataset(out()).info().content_hash;
  for (const auto& write : {write_gzip, write_zstd}) {
    write(file(), text);
    import_dataset(options_, out());
    EXPECT_EQ(Dataset(out()).info().content_hash, plain);
    EXPECT_EQ(Dataset(out()).info().import_key, import_key(options_));
    // Two members, one after the other.
    write(file(), text.substr(0, 1000));
    write(folder_ / "second", text.substr(1000));
    write_text(file(), bytes_of(file()) + bytes_of(folder_ / "second"));
    import_dataset(options_, out());
    EXPECT_EQ(Dataset(out()).info().content_hash, plain);
  }
}

TEST_F(Interactions, CutOrDamagedCompressionIsTold) {
  const std::string text = long_log();
  for (const auto& write : {write_gzip, write_zstd}) {
    write(file(), text);
    const std::string whole = bytes_of(file());
    for (const std::size_t kept : {whole.size() - 1, whole.size() / 2, std::size_t{12}}) {
      EXPECT_CONTAINS(refused(whole.substr(0, kept)), "log.csv: the compressed data cannot be read: the file ends");
    }
  }
  write_gzip(file(), text);
  auto damaged = bytes_of(file());
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 0x10);  // of the sum at its end
  EXPECT_CONTAINS(refused(damaged), "the compressed data cannot be read");
}

TEST_F(Interactions, BadLinesAreNamed) {
  const std::string head = "user,item,time\n";
  EXPECT_CONTAINS(refused(head + "a,x,1\nb,y\n"), "log.csv: line 3: there are 2 columns where the header has 3");
  EXPECT_CONTAINS(refused(head + "a,x,1,2\n"), "line 2: there are 4 columns where the header has 3");
  EXPECT_CONTAINS(refused(head + "a,x,soon\n"), "line 2: time 'soon' is no time of the format 'auto'");
  EXPECT_CONTAINS(refused(head + "a,x,99999999999999999999\n"), "is no time");
  EXPECT_CONTAINS(refused(head + ",x,1\n"), "line 2: there is no user ('user' is empty; 'interactions.missing: drop'");
  EXPECT_CONTAINS(refused(head + "a,NA,1\n"), "line 2: there is no item");
  EXPECT_CONTAINS(refused(head + "a,x\x01y,1\n"), "line 2: an id has a control character (byte 0x01)");
  EXPECT_CONTAINS(refused(head + std::string("a,x\0y,1\n", 8)), "(byte 0x00)");
  EXPECT_CONTAINS(refused(head + "a,\xff,1\n"), "line 2: an id is not valid UTF-8");
  EXPECT_CONTAINS(refused(head + std::string(256, 'u') + ",x,1\n"), "line 2: an id has 256 bytes");
  EXPECT_CONTAINS(refused(head + "\"a\"b,x,1\n"), "line 2: text follows a closing quote");
  EXPECT_CONTAINS(refused(head + "a,\"x,1\nb,y,2\n"), "line 2: a quote is not closed");
  EXPECT_CONTAINS(refused("user;item;time\na;x;1\n"), "line 1: the header has no column 'user'");
  EXPECT_CONTAINS(refused("user;item;time\na;x;1\n"),
                  "(it has: user;item;time); is ';' the separator rather than ','?");
  own_.rating = "stars";
  EXPECT_CONTAINS(refused("user,item,time,stars\na,x,1,many\n"), "line 2: rating 'many' is no number");
  EXPECT_CONTAINS(refused("user,item,time,stars\na,x,1,\n"), "line 2: there is no rating");
  own_.rating = "", own_.lines = "json";
  EXPECT_CONTAINS(refused("{\"user\": 1, \"item\": 2, \"time\": 3}\n{\"user\": 1,\n"),
                  "line 2: is no JSON: the fault is at byte 12");
  EXPECT_CONTAINS(refused("[1, 2]\n"), "line 1: is no JSON object");
  EXPECT_CONTAINS(refused("{\"user\": [1], \"item\": 2, \"time\": 3}\n"), "line 1: 'user' is no text and no number");
}

TEST_F(Interactions, BadLinesCanBeCounted) {
  options_.on_error = "skip";
  const auto summary = import("user,item,time\na,x,1\nb,y\nc,z,soon\n,w,4\na,y,2\n");
  EXPECT_EQ(summary.malformed_lines, 3);
  EXPECT_EQ(named_rows(out()), (Rows{{"x", "y"}}));
  // What an open quote has swallowed is not known, so it is never passed over.
  EXPECT_CONTAINS(message_of<DataError>([&] { import("user,item,time\na,\"x,1\n"); }), "a quote is not closed");
}

TEST_F(Interactions, OptionsThatCannotBe) {
  own_.user = "";
  EXPECT_CONTAINS(misconfigured(), "'interactions.user' names no column");
  own_.user = "user", own_.time = "", own_.session_gap = 1;
  EXPECT_CONTAINS(misconfigured(), "'interactions.session_gap' needs a column");
  own_.session_gap = 0, own_.from = "2020-01-01";
  EXPECT_CONTAINS(misconfigured(), "'interactions.from' needs a column");
  own_.time = "time", own_.from = "yesterday";
  EXPECT_CONTAINS(misconfigured(), "'interactions.from' is 'yesterday'");
  own_.from = "2020-01-02", own_.until = "2020-01-01";
  EXPECT_CONTAINS(misconfigured(), "'interactions.from' is '2020-01-02', which is not before 'until', '2020-01-01'");
  own_.until = own_.from;
  EXPECT_CONTAINS(misconfigured(), "which is not before 'until'");
  own_.from = own_.until = "", own_.min_rating = 3;
  EXPECT_CONTAINS(misconfigured(), "'interactions.min_rating' needs a column in 'interactions.rating'");
  own_.min_rating = 0, own_.time_format = "unix";
  EXPECT_CONTAINS(misconfigured(), "time_format is 'unix'");
  own_.time_format = "auto", own_.keep_events = {"buy"};
  EXPECT_CONTAINS(misconfigured(), "'interactions.keep_events' needs a column");
  own_.keep_events = {}, own_.header = false;
  EXPECT_CONTAINS(misconfigured(), "'interactions.user' is 'user': without a header it is the number of a column");
  own_.header = true, own_.separator = "\"";
  EXPECT_CONTAINS(misconfigured(), "'interactions.separator'");
}

TEST_F(Interactions, TheirOptionsAreInTheKey) {
  import("user,item,time\na,x,1\n");
  own_.rating = "stars";
  const std::string before = import_key(options_);
  own_.min_rating = 3;
  EXPECT_NE(import_key(options_), before);
}

/// Texts like these, with bytes changed, lost, doubled and put in.
class Mutations {
 public:
  [[nodiscard]] std::string next(bool json) {
    std::string text =
        json ? "{\"user\": 1, \"item\": \"\\u00e9\", \"time\": 3.5}\n{\"user\": {\"id\": null}, \"item\": []}\n"
             : "user,item,time\na,\"x \"\"y\"\",1\nb,\"two\nlines\",2020-01-01T10:00:00+01:00\n";
    for (auto changes = random_() % 4; changes-- > 0;) change(text, random_() % text.size());
    return text;
  }

 private:
  void change(std::string& text, std::size_t at) {
    switch (random_() % 4) {
      case 0:
        text[at] = static_cast<char>(random_());
        break;
      case 1:
        text.erase(at, 1 + random_() % 4);
        break;
      case 2:
        text.insert(at, text.substr(random_() % text.size(), random_() % 9));
        break;
      default:
        text.insert(at, 1, ",\"\n\0:{\\"[random_() % 7]);
    }
    text.push_back('\n');
  }

  std::mt19937 random_{5};
};

/// Whatever bytes come: a dataset or an error of ours, and nothing is read out of bounds (the sanitizers' build).
TEST_F(Interactions, AnyBytesAreReadOrRefused) {
  Mutations mutations;
  int imported = 0, refused = 0;
  for (int round = 0; round < 400; ++round) {
    own_.lines = round % 2 == 0 ? "delimited" : "json";
    options_.on_error = round % 4 < 2 ? "stop" : "skip";
    try {
      import(mutations.next(round % 2 != 0));
      ++imported;
    } catch (const base::Error&) {
      ++refused;
    }
  }
  EXPECT_GT(imported, 25);
  EXPECT_GT(refused, 50);
}

TEST_F(Interactions, AnyBytesAreRecordsOrRefused) {
  Mutations mutations;
  int whole = 0, wrong = 0;
  for (int round = 0; round < 4000; ++round) {
    own_.lines = round % 2 == 0 ? "delimited" : "json";
    write_text(file(), mutations.next(round % 2 != 0));
    try {
      LineReader lines(file());
      const auto path = file().string();
      const auto reader = make_record_reader(own_, interaction_columns(own_), lines, path);
      Record record;
      std::string why;
      while (reader->next(record, why)) ++(why.empty() ? whole : wrong);
    } catch (const base::Error&) {
      ++wrong;
    }
  }
  EXPECT_GT(whole, 400);
  EXPECT_GT(wrong, 400);
}

}  // namespace
}  // namespace decant::data
