#include "data/synthesize.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <map>
#include <sstream>

#include "base/hash.h"
#include "data/fixed_point.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

using Sequences = std::vector<std::vector<int>>;

class Synthesize : public testing::Test {
 protected:
  [[nodiscard]] fs::path out() const { return folder_ / "log.txt"; }
  [[nodiscard]] std::string bytes(const SynthesizeOptions& options) const {
    synthesize(options, out());
    return bytes_of(out());
  }
  [[nodiscard]] Sequences sequences(const SynthesizeOptions& options) const {
    std::istringstream lines(bytes(options));
    Sequences found;
    for (std::string line, token; std::getline(lines, line);) {
      std::istringstream tokens(line);
      tokens >> token;
      EXPECT_EQ(token, "u" + std::to_string(found.size()));
      found.emplace_back();
      while (tokens >> token) {
        EXPECT_EQ(token[0], 'i');
        found.back().push_back(std::stoi(token.substr(1)));
      }
    }
    return found;
  }
  TempFolder folder_;
  SynthesizeOptions options_ = [] {
    SynthesizeOptions options;
    options.users = 2000;
    options.items = 1000;
    return options;
  }();
};

TEST_F(Synthesize, TheBytesArePinned) {
  // The same on every machine, compiler and standard library. A change here changes everybody's generated data.
  EXPECT_EQ(base::hash_hex(bytes(options_)), "e6d34f6fd2af228e");
  options_.seed = 2;
  options_.zipf = 0.7;
  options_.users = 300;
  EXPECT_EQ(base::hash_hex(bytes(options_)), "0754672814e9b8c5");
}

TEST_F(Synthesize, SeedsGiveOtherData) {
  const std::string first = bytes(options_);
  EXPECT_TRUE(bytes(options_) == first);
  options_.seed = 2;
  EXPECT_FALSE(bytes(options_) == first);
}

TEST_F(Synthesize, MoreUsersOnlyAddLines) {
  options_.users = 50;
  const std::string few = bytes(options_);
  options_.users = 60;
  EXPECT_TRUE(bytes(options_).starts_with(few));
}

TEST_F(Synthesize, KeepsItsRangesAndItsMeanLength) {
  const Sequences found = sequences(options_);
  EXPECT_EQ(found.size(), 2000U);
  double events = 0;
  for (const auto& row : found) {
    EXPECT_GE(row.size(), 3U);
    events += static_cast<double>(row.size());
    for (const int item : row) {
      EXPECT_GE(item, 0);
      EXPECT_LT(item, 1000);
    }
  }
  EXPECT_NEAR(events / 2000, options_.mean_length, 0.8);  // four standard errors
}

TEST_F(Synthesize, TransitionsCanBeLearnt) {
  const Sequences found = sequences(options_);
  // The most frequent successor of an item in the first half foretells the second half about as often as planted.
  std::map<int, std::map<int, int>> counts;
  for (std::size_t u = 0; u < found.size() / 2; ++u)
    for (std::size_t i = 1; i < found[u].size(); ++i) ++counts[found[u][i - 1]][found[u][i]];
  double right = 0, tried = 0;
  for (std::size_t u = found.size() / 2; u < found.size(); ++u) {
    for (std::size_t i = 1; i < found[u].size(); ++i) {
      const auto at = counts.find(found[u][i - 1]);
      if (at == counts.end()) continue;
      const auto best =
          std::max_element(at->second.begin(), at->second.end(), [](auto& a, auto& b) { return a.second < b.second; });
      right += best->first == found[u][i];
      ++tried;
    }
  }
  EXPECT_GT(tried, 8000);
  EXPECT_GT(right / tried, 0.45);
  EXPECT_LT(right / tried, 0.7);
}

TEST_F(Synthesize, WithoutTransitionsThereAreNone) {
  options_.transitions = 0;
  options_.noise = 1;
  std::map<std::pair<int, int>, int> pairs;
  for (const auto& row : sequences(options_))
    for (std::size_t i = 1; i < row.size(); ++i) ++pairs[{row[i - 1], row[i]}];
  for (const auto& [pair, count] : pairs) EXPECT_LE(count, 4);
}

TEST_F(Synthesize, PopularityHasALongTail) {
  options_.transitions = 0;
  options_.noise = 0;
  options_.users = 20'000;
  std::vector<double> uses(1000);
  double events = 0;
  for (const auto& row : sequences(options_)) {
    for (const int item : row) ++uses[static_cast<std::size_t>(item)];
    events += static_cast<double>(row.size());
  }
  // Item i is number i / 20 of its category: with exponent 1 the first is drawn about ten times as often as the tenth.
  double first = 0, tenth = 0;
  for (std::size_t category = 0; category < 20; ++category) {
    first += uses[category];
    tenth += uses[9 * 20 + category];
  }
  EXPECT_NEAR(first / tenth, 10, 0.7);
  EXPECT_GT(std::count_if(uses.begin(), uses.end(), [](double n) { return n > 0; }), 990);
}

TEST_F(Synthesize, UsersHaveTastes) {
  options_.transitions = 0;
  options_.noise = 0;
  options_.mean_length = 30;
  for (const auto& row : sequences(options_)) {
    std::map<int, int> categories;
    for (const int item : row) ++categories[item % 20];
    EXPECT_LE(categories.size(), 3U);
  }
}

TEST_F(Synthesize, NoUserIsLeftOutOfExtremes) {
  options_ = {};
  options_.items = options_.categories = 1;
  options_.users = 3;
  options_.mean_length = 3;
  EXPECT_EQ(sequences(options_), (Sequences{{0, 0, 0}, {0, 0, 0}, {0, 0, 0}}));
  options_.items = 100;
  options_.categories = 100;
  options_.zipf = 8;
  EXPECT_EQ(sequences(options_).size(), 3U);
}

TEST_F(Synthesize, RefusesWhatCannotBe) {
  const auto refused = [&](const std::function<void(SynthesizeOptions&)>& change) {
    SynthesizeOptions options;
    change(options);
    EXPECT_THROW(synthesize(options, out()), base::ConfigError);
    EXPECT_FALSE(fs::exists(out()));
  };
  refused([](auto& o) { o.users = 0; });
  refused([](auto& o) { o.mean_length = 2; });
  refused([](auto& o) { o.categories = 1001; });
  refused([](auto& o) {
    o.transitions = 0.8;
    o.noise = 0.3;
  });
  EXPECT_CONTAINS(message_of<base::FileError>([&] { synthesize({}, folder_.path()); }), "no regular file");
  EXPECT_THROW(synthesize({}, "/proc/no/such/place"), base::FileError);
  EXPECT_TRUE(fs::is_directory(folder_.path()));
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(Synthesize, AFullDiskLeavesNothing) {
  {
    const FullDisk full(50'000);
    EXPECT_CONTAINS(message_of<base::FileError>([&] { synthesize(options_, out()); }), "cannot write");
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(Synthesize, IsQuick) {
  options_.users = 100'000;
  options_.items = 20'000;
  const auto start = std::chrono::steady_clock::now();
  synthesize(options_, out());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));  // 0.2 s, with sanitizers 2 s
}

TEST(FixedPoint, AgreesWithTheLibraryAndIsExactAtPowersOfTwo) {
  const double one = std::exp2(kFraction);
  for (std::uint64_t x = 1; x < 100'000; x = x * 5 / 4 + 1) {
    EXPECT_NEAR(static_cast<double>(fixed_log2(x)) / one, std::log2(static_cast<double>(x)), 1e-8);
    EXPECT_NEAR(static_cast<double>(fixed_exp2_negative(x << 18)) * std::exp2(-62),
                std::exp2(-static_cast<double>(x) / 16384), 1e-8);
  }
  EXPECT_EQ(fixed_log2(1), 0U);
  EXPECT_EQ(fixed_log2(1 << 20), std::uint64_t{20} << kFraction);
  EXPECT_EQ(fixed_exp2_negative(0), std::uint64_t{1} << 62);
  EXPECT_EQ(fixed_exp2_negative(std::uint64_t{3} << kFraction), std::uint64_t{1} << 59);
  EXPECT_EQ(fixed_exp2_negative(std::uint64_t{70} << kFraction), 0U);
  EXPECT_EQ(integer_root(99), 9U);
  EXPECT_EQ(integer_root(100), 10U);
}

}  // namespace
}  // namespace decant::data
