// What a sweep tries: grids, draws, refusals, and how values enter a job.
#include "trainer/sweep_space.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/trainer/support.h"
#include "trainer/job.h"
#include "trainer/sweep.h"

namespace decant::trainer {
namespace {

using base::Json;
using testing_support::message_of;

std::unique_ptr<SweepOptions> sweep(const Json& tree) {
  auto options = std::make_unique<SweepOptions>();
  base::read_options(tree, *options, "sweep");
  options->check();
  return options;
}

std::string refusal(const Json& tree) {
  return message_of<base::ConfigError>([&] { static_cast<void>(sweep(tree)); });
}

Json keys(const std::string& key, const Json& values) { return {{"keys", {{key, values}}}}; }

TEST(SweepSpace, AGridIsEveryCombination) {
  const auto options = sweep({{"keys",
                               {{"student.optimizer.lr", {{"numbers", {0.001, 0.01}}}},
                                {"losses.kl_tail.temperature", {{"numbers", {1, 2, 4}}}}}}});
  const auto settings = settings_of(*options, 1);
  ASSERT_EQ(settings.size(), 6U);
  EXPECT_EQ(text_of(settings[0]), "lr=0.001 temperature=1");
  EXPECT_EQ(text_of(settings[5]), "lr=0.01 temperature=4");
  std::set<std::string> all;
  for (const auto& setting : settings) all.insert(text_of(setting));
  EXPECT_EQ(all.size(), 6U);
  EXPECT_EQ(settings_of(*sweep(Json::object()), 1).size(), 1U) << "seeds alone";
}

TEST(SweepSpace, DrawsAreFunctionsInTheirRanges) {
  const Json tree{{"search", "random"},
                  {"trials", 400},
                  {"keys",
                   {{"student.optimizer.lr", {{"low", 1e-4}, {"high", 1e-1}, {"scale", "log"}}},
                    {"student.model.dim", {{"low", 2}, {"high", 5}, {"integer", true}}},
                    {"student.model.dropout", {{"numbers", {0.0, 0.1}}}}}}};
  const auto options = sweep(tree);
  const auto settings = settings_of(*options, 7);
  ASSERT_EQ(settings.size(), 400U);
  EXPECT_EQ(settings_of(*options, 7), settings);
  EXPECT_NE(settings_of(*options, 8), settings);
  int low = 0;
  std::set<Json> dims;
  for (const auto& setting : settings) {
    const double lr = setting[0].second;
    EXPECT_GE(lr, 1e-4);
    EXPECT_LE(lr, 1e-1);
    low += lr < std::pow(10, -2.5) ? 1 : 0;
    EXPECT_TRUE(setting[1].second.is_number_integer());
    dims.insert(setting[1].second);
  }
  EXPECT_NEAR(low, 200, 50) << "even in the logarithm";
  EXPECT_EQ(dims, (std::set<Json>{2, 3, 4, 5}));
  auto more = tree;
  more["trials"] = 401;
  const auto longer = settings_of(*sweep(more), 7);
  EXPECT_TRUE(std::equal(settings.begin(), settings.end(), longer.begin())) << "more trials keep those before";
}

TEST(SweepSpace, RefusesWhatCannotBeSwept) {
  EXPECT_CONTAINS(refusal(keys("run.seed", {{"numbers", {1}}})), "sweep.seeds");
  EXPECT_CONTAINS(refusal(keys("data.import.k_core", {{"numbers", {1}}})), "only keys below teacher");
  EXPECT_CONTAINS(refusal(keys("student.train.select", {{"texts", {"mrr@5"}}})), "cannot differ");
  EXPECT_CONTAINS(refusal(keys("student.model.dim", Json::object())), "give either numbers, or texts, or low and high");
  EXPECT_CONTAINS(refusal(keys("losses", {{"texts", {"{ce: {}}"}}})), "'sweep.keys.losses': {ce: {}} is no JSON");
  EXPECT_CONTAINS(refusal(keys("student.model.dim", {{"low", 1}, {"high", 2}})), "needs 'sweep.search: random'");
  auto log = keys("student.optimizer.lr", {{"low", 0}, {"high", 2}, {"scale", "log"}});
  log["search"] = "random";
  EXPECT_CONTAINS(refusal(log), "begins above 0");
}

TEST(SweepSpace, EverySettingIsCheckedAsAJob) {
  const auto registries = default_registries();
  const auto check = [&](const std::string& key, const Json& values) {
    Json tree{
        {"version", 1}, {"run", {{"folder", "run"}}}, {"data", {{"dataset", "data"}}}, {"sweep", keys(key, values)}};
    JobOptions job(registries);
    base::read_options(tree, job);
    job.check();
    return check_sweep(job, registries);
  };
  EXPECT_EQ(check("student.model.dim", {{"numbers", {2, 4, 8}}}), 3U);
  EXPECT_EQ(check("losses", {{"texts", {R"({"ce": {}})", R"({"ce": {}, "mse": {"weight": 0.1}})"}}}), 2U);
  EXPECT_EQ(check("student.optimizer.type", {{"texts", {"adamw", "sgd"}}}), 2U);
  const auto wrong = [&](const std::string& key, const Json& values) {
    return message_of<base::ConfigError>([&] { static_cast<void>(check(key, values)); });
  };
  EXPECT_CONTAINS(wrong("student.model.dimm", {{"numbers", {2}}}), "did you mean 'dim'?");
  EXPECT_CONTAINS(wrong("losses.kl_tail.temperature", {{"numbers", {1, 7.5}}}), "temperature=7.5");
  EXPECT_CONTAINS(wrong("student.model.dim", {{"numbers", {0.5}}}), "student.model.dim");
}

}  // namespace
}  // namespace decant::trainer
