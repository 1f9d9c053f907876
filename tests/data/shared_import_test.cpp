// Imports by several ranks, here threads: the dataset, the summary and the messages are those of one process.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <zlib.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <sstream>
#include <thread>

#include "data/errors.h"
#include "data/import.h"
#include "data/import_share.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

/// Where threads that play ranks meet. One that leaves early lets nobody wait for it.
class Meeting {
 public:
  explicit Meeting(int ranks) : slots_(static_cast<std::size_t>(ranks)) {}

  std::vector<std::string> gather(int rank, const std::string& mine) {
    std::unique_lock lock(mutex_);
    slots_[static_cast<std::size_t>(rank)] = mine;
    const int round = rounds_;
    if (++arrived_ == slots_.size()) {
      told_ = slots_;
      arrived_ = 0;
      ++rounds_;
      all_here_.notify_all();
    }
    all_here_.wait(lock, [&] { return rounds_ != round || left_; });
    if (rounds_ == round) throw std::runtime_error("a rank has left");
    return told_;
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    left_ = true;
    all_here_.notify_all();
  }
  [[nodiscard]] int rounds() const { return rounds_; }

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  std::vector<std::string> slots_, told_;
  std::size_t arrived_ = 0;
  int rounds_ = 0;
  bool left_ = false;
};

/// How an import ended: a summary and the files of the dataset, or what was thrown.
struct Outcome {
  base::Json summary;
  std::map<std::string, std::string> files;
  std::string thrown;
  int code = 0;
  bool operator==(const Outcome&) const = default;
};

class SharedImport : public testing::Test {
 protected:
  SharedImport() { options_.format = "interactions"; }

  std::string write(const std::string& name, const std::string& bytes) {
    write_text(folder_ / name, bytes);
    return (folder_ / name).string();
  }
  [[nodiscard]] fs::path out() const { return folder_ / "dataset"; }

  void import_as(int rank, int ranks, Meeting& meeting, Outcome& outcome) {
    try {
      const auto summary = import_dataset(
          options_, out(),
          [&](auto, auto) {
            if (progress_) progress_(rank);
          },
          [&](const char* point) {
            if (at_) at_(rank, point);
          },
          {rank, ranks, [&, rank](const std::string& mine) { return meeting.gather(rank, mine); }});
      outcome.summary = summary.to_json();
    } catch (const base::Error& error) {
      outcome.thrown = error.what();
      outcome.code = static_cast<int>(error.code());
    } catch (const ImportStopped&) {
      outcome.thrown = "stopped";
    } catch (const std::exception& error) {
      outcome.thrown = error.what();
      meeting.leave();
    }
  }

  /// Of each rank; rank 0's has the files.
  std::vector<Outcome> import(int ranks) {
    fs::remove_all(out());
    Meeting meeting(ranks);
    std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank)
      threads.emplace_back([&, rank] { import_as(rank, ranks, meeting, outcomes[static_cast<std::size_t>(rank)]); });
    for (auto& thread : threads) thread.join();
    rounds_ = meeting.rounds();
    if (fs::exists(out()))
      for (const auto& file : fs::directory_iterator(out()))
        outcomes[0].files[file.path().filename().string()] = bytes_of(file.path());
    EXPECT_FALSE(fs::exists(folder_ / "dataset.tmp"));
    return outcomes;
  }

  /// One process and 2 to 5 ranks come to the same; returns what.
  Outcome same_for_all(const std::string& what = "", int most = 5) {
    const Outcome alone = import(1)[0];
    for (int ranks = 2; ranks <= most; ++ranks) {
      const auto outcomes = import(ranks);
      EXPECT_EQ(outcomes[0].thrown, alone.thrown) << what << ", " << ranks << " ranks";
      EXPECT_EQ(outcomes[0].summary, alone.summary) << what << ", " << ranks << " ranks";
      EXPECT_TRUE(outcomes[0] == alone) << what << ", " << ranks << " ranks";
      // What rank 0 finds when all is read, it alone tells.
      for (const auto& other : outcomes)
        EXPECT_TRUE(other.thrown.empty() || other.thrown == alone.thrown) << other.thrown;
    }
    return alone;
  }
  void expect_imported(const std::string& what = "") {
    const Outcome outcome = same_for_all(what);
    EXPECT_EQ(outcome.thrown, "") << what;
    EXPECT_GE(outcome.files.size(), 3U) << what;
  }

  TempFolder folder_;
  ImportOptions options_;
  InteractionOptions& own_ = options_.interactions;
  std::function<void(int rank)> progress_;
  std::function<void(int rank, const std::string& point)> at_;
  int rounds_ = 0;
};

/// Users come back all through the log, times go up and down, values are missing here and there.
std::string log_of(int events, int users, const std::string& end = "\n") {
  std::ostringstream out;
  out << "user,item,time,kind,price,place" << end;
  std::uint64_t state = 7;
  for (int i = 0; i < events; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    const auto draw = static_cast<int>(state >> 34);
    out << 'u' << draw % users << ",item-number-" << draw / users % 97 << ',' << draw % 50'000 << ",k" << draw % 5
        << ',';
    if (draw % 7 != 0) out << draw % 100;
    out << ',';
    if (draw % 11 != 0) out << "\"town " << draw % 13 << '"';
    out << end;
  }
  return out.str();
}

std::string gzip(const std::string& text, const fs::path& path) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return path.string();
}

TEST_F(SharedImport, Histories) {
  options_.format = "sequences";
  std::string text = "\xef\xbb\xbf";
  for (int i = 0; i < 400; ++i)
    text += "user" + std::to_string(i % 37) + " i" + std::to_string(i * i % 23) + "\ti" + std::to_string(i % 19) +
            (i % 3 == 0 ? "\r\n" : "\n") + (i % 41 == 0 ? "\n \n" : "");
  text += "last x y z";  // without a line end
  options_.files = {write("a", text), write("empty", ""), write("b", "user3 x\nuser99 y z\n")};
  expect_imported();
  options_.k_core = 3, options_.duplicates = "collapse";
  expect_imported("k_core");
}

TEST_F(SharedImport, InteractionsWithEverythingTheyHave) {
  own_.event = "kind", own_.event_weights = {"k0=1", "k1=2", "k2=3", "k3=4", "k4=5"}, own_.keep_time = true;
  base::read_options(base::Json::parse(R"({"context": {"price": {"kind": "number"}, "place": {}}})"), own_);
  for (const std::string end : {"\n", "\r\n"}) {
    options_.files = {write("log.csv", log_of(3000, 70, end))};
    expect_imported(end);
  }
  own_.session_gap = 60, own_.same_event = "drop", options_.k_core = 4, options_.min_events = 3;
  expect_imported("sessions");
}

TEST_F(SharedImport, ValuesThatDropAnEventAreCountedOnce) {
  own_.event = "kind", own_.keep_events = {"k1", "k2"}, own_.rating = "price", own_.min_rating = 20;
  own_.missing = "drop", own_.from = "5000";
  base::read_options(base::Json::parse(R"({"context": {"place": {"missing": "drop"}}})"), own_);
  options_.files = {write("log.csv", log_of(3000, 70))};
  expect_imported();
}

TEST_F(SharedImport, ColumnsByNumberAndJsonLines) {
  own_.header = false, own_.user = "1", own_.item = "2", own_.time = "3", own_.separator = "tab";
  std::string columns, lines;
  for (int i = 0; i < 500; ++i) {
    const auto user = std::to_string(i % 31), item = std::to_string(i % 17), time = std::to_string(i * 7 % 100);
    columns += user + "\t" + item + "\t" + time + "\n";
    lines += R"({"user": )" + user + R"(, "item": ")" + item + R"(", "time": )" + time + "}\n";
  }
  options_.files = {write("log.tsv", columns)};
  expect_imported("columns");
  own_.lines = "json", own_.user = "user", own_.item = "item", own_.time = "time";
  options_.files = {write("log.json", lines)};
  expect_imported("json");
}

TEST_F(SharedImport, SeveralFilesSomeCompressed) {
  const auto text = log_of(900, 50);
  options_.files = {write("a.csv", text),
                    gzip(log_of(700, 30), folder_ / "b.csv.gz"),
                    write("head.csv", "user,item,time\n"),
                    write("empty.csv", ""),
                    write("c.csv", log_of(300, 80)),
                    gzip(text, folder_ / "d.csv.gz")};
  expect_imported();
  options_.split = "given", options_.valid_files = {write("valid.csv", log_of(400, 50))};
  options_.test_files = {gzip(log_of(500, 50), folder_ / "test.csv.gz")};
  expect_imported("given");
}

TEST_F(SharedImport, SplitsByDates) {
  options_.split = "temporal", options_.valid_from = "40000", options_.test_from = "45000";
  options_.files = {write("log.csv", log_of(3000, 70))};
  expect_imported();
}

TEST_F(SharedImport, BeyondTheMemory) {
  options_.files = {write("log.csv", log_of(90'000, 700))};
  options_.memory = "1MiB";
  bool spilled = false;
  at_ = [&](int rank, const std::string& point) {
    if (rank == 0 && point == "import-write") spilled |= fs::exists(folder_ / "dataset.tmp" / ".events.tmp-blocks-1");
  };
  options_.k_core = 2;
  expect_imported();
  EXPECT_TRUE(spilled);
}

TEST_F(SharedImport, IdsOfSeveralMessages) {
  std::string text;
  for (int i = 0; i < 200'000; ++i)
    text += std::string(200, 'u') + std::to_string(i) + " i" + std::to_string(i % 7) + "\n";
  options_.format = "sequences", options_.files = {write("log", text)};
  const Outcome outcome = same_for_all("", 2);
  EXPECT_EQ(outcome.summary["users"], 200'000);
}

TEST_F(SharedImport, FewerLinesThanRanks) {
  for (const std::string text :
       {"user,item,time\na,x,1\na,y,2\n", "user,item,time\na,x,1", "\n\n\nuser,item,time\n\na,x,1\n\n"}) {
    options_.files = {write("log.csv", text)};
    expect_imported(text);
  }
  for (const std::string text : {"", "\n", "\n \n\t\n", "user,item,time\n", "user,item,time"}) {
    options_.files = {write("log.csv", text)};
    EXPECT_CONTAINS(same_for_all(text).thrown, "nothing is left to import");
  }
  options_.format = "sequences";
  std::string line = "a";
  for (int i = 0; i < 900; ++i) line += " item" + std::to_string(i % 50);
  options_.files = {write("one", line)};
  expect_imported("one line");
}

/// So many records, each with a text, or texts, of several lines.
std::string texts_of_lines(int records, const std::string& columns, const std::string& text) {
  std::string out = "user,item,time," + columns + "\n";
  for (int i = 0; i < records; ++i)
    out +=
        "u" + std::to_string(i % 97) + ",i" + std::to_string(i % 31) + "," + std::to_string(i) + ",\"" + text + "\"\n";
  return out;
}

TEST_F(SharedImport, LineEndsWithinQuotes) {
  options_.files = {write("log.csv", texts_of_lines(9000, "text", "good\nbought, \"\"again\"\"\n\nand again\r\n"))};
  expect_imported();
  const int rounds = rounds_;
  // Read from the wrong line on, it never comes right: the ranks find out, and read again.
  options_.files = {write("log.csv", texts_of_lines(40'000, "one,two", "\n\",\"\n"))};
  expect_imported("\",\"");
  EXPECT_GT(rounds_, rounds);
}

TEST_F(SharedImport, ABadLineIsNamedWhereverItIs) {
  for (const std::string bad : {"a,x", "a,x,soon", "a,\"x\"y,1", "\xff,x,1", "a,,1"}) {
    for (std::size_t place = 0; place <= 24; ++place) {
      std::string text = "user,item,time\n";
      for (std::size_t line = 0; line < 24; ++line) {
        if (line == place) text += bad + "\n";
        text += "u" + std::to_string(line % 5) + ",i" + std::to_string(line) + "," + std::to_string(100 * line) + "\n";
        if (line % 7 == 0) text += "\n";
      }
      if (place == 24) text += bad;
      options_.files = {write("log.csv", text)};
      EXPECT_CONTAINS(same_for_all(text).thrown, "log.csv: line ");
    }
  }
}

TEST_F(SharedImport, TheFirstOfSeveralErrorsIsTold) {
  std::string text = log_of(900, 50);
  text.insert(text.size() / 3, "\nbad,line\n");
  text.insert(text.size() * 2 / 3, "\nworse\n");
  const auto good = write("good.csv", log_of(200, 9)), bad = write("bad.csv", text);
  const auto missing = (folder_ / "missing.csv").string();
  auto damaged = bytes_of(gzip(log_of(300, 9), folder_ / "whole.gz"));
  const auto cut = write("cut.gz", damaged.substr(0, damaged.size() / 2));
  const std::vector<std::vector<std::string>> orders{{good, bad, missing}, {missing, bad}, {bad, cut},
                                                     {good, cut, bad},     {cut},          {missing}};
  for (const auto& files : orders) {
    options_.files = files;
    EXPECT_NE(same_for_all(files.front()).thrown, "");
  }
  options_.files = {good, bad};
  options_.on_error = "skip";
  const Outcome outcome = same_for_all("skip");
  EXPECT_EQ(outcome.thrown, "");
  EXPECT_GE(outcome.summary["malformed_lines"], 3);
}

TEST_F(SharedImport, OptionsAndHeadersAreRefusedAlike) {
  options_.files = {write("log.csv", log_of(100, 9))};
  own_.item = "product";
  EXPECT_CONTAINS(same_for_all().thrown, "line 1: the header has no column 'product'");
  own_.item = "item", options_.k_core = 1000;
  EXPECT_CONTAINS(same_for_all().thrown, "nothing is left to import of 100 lines: 100 dropped by");
  options_.k_core = 0, options_.format = "tables";
  EXPECT_CONTAINS(same_for_all().thrown, "unknown import format 'tables'");
}

TEST_F(SharedImport, AnyText) {
  std::mt19937 random(5);
  constexpr std::string_view kAlphabet = "\"\"\"\n\n\n,,,uxy12 \r";
  int imported = 0, refused = 0;
  for (int round = 0; round < 160; ++round) {
    std::string text = "user,item,time\n";
    if (round % 3 == 0) options_.on_error = "skip";
    if (round % 3 == 1) options_.on_error = "stop";
    const auto size = 20 + random() % 200;
    while (text.size() < size) {
      if (random() % 2 == 0)
        text += "u" + std::to_string(random() % 9) + ",\"i" + std::to_string(random() % 9) + "\",7\n";
      for (auto more = random() % 6; more > 0; --more) text += kAlphabet[random() % kAlphabet.size()];
    }
    options_.format = round % 5 == 4 ? "sequences" : "interactions";
    options_.files = {write("log", text)};
    const Outcome outcome = same_for_all(text, 3);
    ++(outcome.thrown.empty() ? imported : refused);
    if (HasFailure()) break;
  }
  EXPECT_GT(imported, 30);
  EXPECT_GT(refused, 30);
}

TEST_F(SharedImport, NoRankWritesAnOriginalIdWherePseudonymsAreAsked) {
  options_.files = {write("log.csv", log_of(3000, 70))};
  options_.pseudonyms.key_file = write("ids.key", "a key of more than sixteen bytes");
  fs::permissions(options_.pseudonyms.key_file, fs::perms::owner_read);
  options_.pseudonyms.items = true;
  std::mutex mutex;
  std::size_t looked_at = 0;
  at_ = [&](int rank, const std::string& point) {
    if (rank == 0 || point != "import-share") return;
    const auto bytes = bytes_of(folder_ / "dataset.tmp" / (".events.tmp-share-" + std::to_string(rank)));
    const std::lock_guard lock(mutex);
    looked_at += bytes.size();
    EXPECT_FALSE(contains(bytes, "item-number-"));
  };
  expect_imported();
  EXPECT_GT(looked_at, 20'000U);
}

TEST_F(SharedImport, OneThatIsToStopLeavesWithAllOthers) {
  const fs::path pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  options_.files = {write("log.csv", log_of(100, 9)), pipe.string()};
  progress_ = [](int rank) {
    if (rank == 1) throw ImportStopped();
  };
  const auto before = std::signal(SIGPIPE, SIG_IGN);  // the reader leaves early
  std::thread writer([&] {
    std::ofstream file(pipe);
    file << "user,item,time\n" << std::flush;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // progress is told of five times a second
    for (int i = 0; i < 1500; ++i) file << "a,x," << i << '\n';
  });
  const auto outcomes = import(2);
  writer.join();
  std::signal(SIGPIPE, before);
  EXPECT_EQ(outcomes[0].thrown, "stopped");
  EXPECT_EQ(outcomes[1].thrown, "stopped");
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(SharedImport, RanksThatSeeOtherFilesAreTold) {
  options_.files = {write("log.csv", log_of(100, 9))};
  Meeting meeting(2);
  Outcome outcome;
  std::thread leader([&] { import_as(0, 2, meeting, outcome); });
  ImportOptions theirs;
  theirs.format = "interactions", theirs.files = {write("other.csv", log_of(101, 9))};
  const auto gather = [&](const std::string& mine) { return meeting.gather(1, mine); };
  const auto thrown = message_of<base::FileError>([&] { (void)import_dataset(theirs, out(), {}, {}, {1, 2, gather}); });
  leader.join();
  for (const auto& text : {thrown, outcome.thrown}) EXPECT_CONTAINS(text, "all ranks must see the same files");
  EXPECT_CONTAINS(outcome.thrown, "log.csv: rank 1 sees ");
}

TEST(PiecesOf, AreTheFilesInOrder) {
  const std::vector<FileExtent> files{{100, true}, {0, true}, {50, false}, {7, true}, {0, false}, {30, true}};
  for (int ranks = 1; ranks <= 300; ranks = ranks < 8 ? ranks + 1 : ranks * 3) {
    std::vector<std::int64_t> read(files.size(), 0);
    std::vector<int> begun(files.size(), 0);
    std::size_t last = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      for (const auto& [file, share] : pieces_of(files, rank, ranks)) {
        EXPECT_GE(file, last);
        last = file;
        EXPECT_EQ(share.begin, read[file]) << file << " of rank " << rank << " of " << ranks;
        EXPECT_TRUE(files[file].divisible || (share.begin == 0 && share.end == FileShare::kToTheEnd));
        begun[file] += share.begin == 0;
        read[file] = std::min(share.end, files[file].bytes);
      }
    }
    for (std::size_t f = 0; f < files.size(); ++f) {
      EXPECT_EQ(read[f], files[f].bytes) << f << " of " << ranks;
      EXPECT_GE(begun[f], 1) << f << " of " << ranks;
    }
  }
}

ShareReport report(std::int64_t start, std::int64_t end, std::int64_t lines, bool joined = true) {
  ShareReport out;
  out.joined = joined, out.start = start, out.end = end, out.lines = lines, out.one_piece = true;
  return ShareReport::from_json(out.to_json());
}

TEST(JudgeShares, RanksThatBeganWhereTheOthersEndedAreDone) {
  const auto verdict = judge_shares(std::vector{report(0, 100, 9, false), report(100, 230, 8), report(230, 300, 7)});
  EXPECT_TRUE(verdict.done);
  EXPECT_FALSE(verdict.failed);
}

TEST(JudgeShares, OthersReadAgain) {
  std::vector reports{report(0, 100, 9, false), report(105, 230, 8), report(230, 300, 7), report(-1, -1, 0)};
  auto verdict = judge_shares(reports);
  EXPECT_FALSE(verdict.done);
  EXPECT_EQ(verdict.again[1].value().begin, 100);
  EXPECT_EQ(verdict.again[1].value().lines_before, 9);
  EXPECT_FALSE(verdict.again[2]);
  EXPECT_EQ(verdict.again[3].value().begin, 300);
  reports[1] = report(100, 230, 10), reports[1].exact = true, reports[1].first = {100, 9};
  reports[3] = report(300, 400, 5);
  EXPECT_TRUE(judge_shares(reports).done);
}

TEST(JudgeShares, TheFirstFailureCountsOnceItsLineIsKnown) {
  std::vector reports{report(0, 100, 9, false), report(100, 230, 8), report(230, -1, 7), report(-1, -1, 0)};
  reports[2].failed = reports[3].failed = 3;
  reports[2].failed_first = reports[3].failed_first = true;
  auto verdict = judge_shares(reports);
  EXPECT_FALSE(verdict.failed);
  EXPECT_FALSE(verdict.again[3]);
  EXPECT_EQ(verdict.again[2].value().begin, 230);
  EXPECT_EQ(verdict.again[2].value().lines_before, 17);
  reports[2].exact = true, reports[2].first = {230, 17};
  EXPECT_EQ(judge_shares(reports).failed, std::optional<std::size_t>(2));
  reports[0].stopped = true;
  EXPECT_TRUE(judge_shares(reports).stopped);
}

}  // namespace
}  // namespace decant::data
