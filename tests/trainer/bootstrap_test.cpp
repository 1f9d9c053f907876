// The bootstrap over seeds and users: what it must find, what it must not, and that it is a function of its key.
#include "trainer/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/trainer/support.h"
#include "trainer/compare.h"
#include "trainer/ranking.h"

namespace decant::trainer {
namespace {

using testing_support::message_of;
using Rows = std::vector<std::vector<float>>;

/// Normal differences: a mean, a deviation a seed, a deviation a user (the same user under every seed), and noise.
Rows drawn(std::size_t seeds, std::size_t users, double mean, double by_seed, double by_user, unsigned key) {
  std::mt19937 engine(key);
  std::normal_distribution<double> normal;
  std::vector<double> user(users);
  for (auto& value : user) value = by_user * normal(engine);
  Rows rows(seeds, std::vector<float>(users));
  for (auto& row : rows) {
    const double shift = by_seed * normal(engine);
    for (std::size_t u = 0; u < users; ++u) row[u] = static_cast<float>(mean + shift + user[u] + 0.01 * normal(engine));
  }
  return rows;
}

TEST(Bootstrap, FindsADifferenceAndNone) {
  const BootstrapOptions options;
  const auto clear = bootstrap(drawn(3, 500, 0.05, 0.001, 0.2, 1), options);
  EXPECT_GT(clear.low, 0);
  EXPECT_NEAR(clear.p, 2.0 / 2001, 1e-12) << "the least that 2,000 replicates can say";
  EXPECT_EQ(clear.seeds, 3);
  EXPECT_EQ(clear.users, 500);
  const auto none = bootstrap(Rows(3, std::vector<float>(100, 0)), options);
  EXPECT_EQ(none.mean, 0);
  EXPECT_EQ(none.p, 1);
}

TEST(Bootstrap, OneSeedIsTheUsersStandardError) {
  const auto rows = drawn(1, 2000, 0.1, 0, 1, 2);
  const auto found = bootstrap(rows, {.replicates = 4000});
  double mean = 0, squares = 0;
  for (const float value : rows[0]) mean += static_cast<double>(value) / 2000;
  for (const float value : rows[0]) squares += std::pow(static_cast<double>(value) - mean, 2);
  const double error = std::sqrt(squares / 2000 / 2000);
  EXPECT_NEAR(found.mean, mean, 1e-9);
  EXPECT_NEAR((found.high - found.low) / 2, 1.96 * error, 0.08 * error);
  EXPECT_EQ(found.deviation, 0);
}

TEST(Bootstrap, SeedsThatDisagreeWidenIt) {
  const auto agree = bootstrap(drawn(5, 1000, 0.02, 0.0, 0.1, 3), {});
  const auto differ = bootstrap(drawn(5, 1000, 0.02, 0.05, 0.1, 3), {});
  EXPECT_GT(differ.high - differ.low, 3 * (agree.high - agree.low));
  EXPECT_GT(differ.p, 0.05);
}

TEST(Bootstrap, UsersAreTheSameUnderEverySeed) {
  // Ten copies of one seed know no more than the seed itself: independent users a seed would claim a third of its width.
  const auto one = drawn(1, 400, 0.1, 0, 1, 4);
  const auto copies = bootstrap(Rows(10, one[0]), {}), alone = bootstrap(one, {});
  EXPECT_NEAR((copies.high - copies.low) / (alone.high - alone.low), 1, 0.1);
}

TEST(Bootstrap, IsAFunctionOfItsKey) {
  const auto rows = drawn(3, 300, 0.01, 0.01, 0.1, 5);
  const auto a = bootstrap(rows, {.threads = 1}), b = bootstrap(rows, {.threads = 3});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_EQ(a.p, b.p);
  EXPECT_NE(a.low, bootstrap(rows, {.seed = 2}).low);
}

TEST(Bootstrap, CoversTheTruthAsOftenAsItSays) {
  int covered = 0;
  for (unsigned key = 0; key < 200; ++key) {
    const auto found = bootstrap(drawn(1, 200, 0.3, 0, 1, 100 + key), {.replicates = 400, .seed = key});
    covered += found.low <= 0.3 && 0.3 <= found.high ? 1 : 0;
  }
  EXPECT_GE(covered, 180);
  EXPECT_LE(covered, 199);
}

data::RankFile file_of(const std::string& side, const std::vector<std::uint32_t>& ranks) {
  data::RankFile file;
  file.side = side;
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    file.test.rows.push_back(i);
    file.test.targets.push_back(1);
  }
  file.test.all = file.test.unseen = ranks;
  return file;
}

TEST(Compare, MetricsOfSavedRanksAreTheReports) {
  const std::vector<std::uint32_t> ranks{0, 1, 4, 9, 60, 10};
  RankHistogram histogram;
  for (const auto rank : ranks) histogram.add(rank);
  for (const auto& [metric, value] : histogram.metrics()) {
    CompareOptions options;
    options.metric = metric;
    EXPECT_NEAR(level_of({file_of("student", ranks)}, options).mean, value, 1e-12) << metric;
  }
}

TEST(Compare, TakesTheDifferenceSeedBySeed) {
  const SeedRanks student{file_of("student", {0, 0, 5}), file_of("student", {0, 1, 99})};
  const SeedRanks control{file_of("control", {0, 99, 99}), file_of("control", {99, 1, 99})};
  CompareOptions options;
  options.metric = "recall@10";
  const auto found = compare(student, control, options, 1);
  EXPECT_NEAR(found.mean, (2.0 / 3 + 1.0 / 3) / 2, 1e-6);
  EXPECT_NEAR(compare(student, {control[0]}, options, 1).mean, (2.0 / 3 + 1.0 / 3) / 2, 1e-6)
      << "one file for all seeds";
  auto other = control;
  other[1].test.targets[0] = 2;
  EXPECT_CONTAINS(message_of<base::Error>([&] { static_cast<void>(compare(student, other, options, 1)); }),
                  "same users");
}

}  // namespace
}  // namespace decant::trainer
