// Which labels are not trusted, by hand.
#include "trainer/screening.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/trainer/support.h"
#include "trainer/job.h"

namespace decant::trainer {
namespace {

/// Four targets over 5 items, 2 stored. Probabilities of the observed item: 0.6, 0.1, 0.96, 0.02.
TeacherLabels make_labels() {
  TeacherLabels labels;
  const auto log = [](std::vector<double> p) { return torch::tensor(p, torch::kFloat64).log().to(torch::kFloat32); };
  labels.ids = torch::tensor({{3, 1}, {3, 1}, {0, 2}, {4, 2}}, torch::kInt64);
  labels.logits = at::stack({log({0.6, 0.2}), log({0.7, 0.1}), log({0.96, 0.01}), log({0.5, 0.4})}) + 3.0;
  labels.rest_lse[1.0] = log({0.2, 0.2, 0.03, 0.1}) + 3.0;
  labels.target_logit = log({0.6, 0.1, 0.96, 0.02}) + 3.0;
  return labels;
}
const auto kTargets = torch::tensor({3, 1, 0, 1}, torch::kInt64);

std::vector<float> trust(const ScreeningOptions& options, ScreenedCounts& counts, const TeacherLabels& labels) {
  const auto out = trust_in(labels, kTargets, options, counts);
  return {out.data_ptr<float>(), out.data_ptr<float>() + out.numel()};
}

TEST(Screening, ByProbabilityOfTheObservedItem) {
  ScreeningOptions options;
  EXPECT_FALSE(options.on());
  options.least_probability = 0.05, options.most_probability = 0.9, options.keep = 0.25;
  ScreenedCounts counts;
  EXPECT_EQ(trust(options, counts, make_labels()), (std::vector<float>{1, 1, 0.25, 0.25}));
  EXPECT_EQ(counts.labels, 4);
  EXPECT_EQ(counts.contradicting, 1);
  EXPECT_EQ(counts.over_confident, 1);
}

TEST(Screening, ByRank) {
  ScreeningOptions options;
  options.most_rank = 1;
  ScreenedCounts counts;
  EXPECT_EQ(trust(options, counts, make_labels()), (std::vector<float>{1, 0, 1, 0}));
  options.most_rank = 2;
  EXPECT_EQ(trust(options, counts, make_labels()), (std::vector<float>{1, 1, 1, 0}));
  EXPECT_EQ(counts.contradicting, 3) << "both calls";
}

TEST(Screening, ALabelThatIsNotThereCountsForNothing) {
  ScreeningOptions options;
  options.most_rank = 1;
  auto labels = make_labels();
  labels.present = torch::tensor({true, false, true, true});
  ScreenedCounts counts;
  EXPECT_EQ(trust(options, counts, labels), (std::vector<float>{1, 1, 1, 0}));
  EXPECT_EQ(counts.labels, 3);
  EXPECT_EQ(counts.contradicting, 1);
}

void check(const std::vector<std::pair<std::string, base::Json>>& changes) {
  static const Registries registries = default_registries();
  base::Json tree{{"version", 1}, {"run", {{"folder", "run"}}}, {"data", {{"dataset", "data"}}}};
  for (const auto& [key, value] : changes) base::set_key(tree, key, value);
  JobOptions job(registries);
  base::read_options(tree, job);
  job.check();
}

std::string refusal(const std::vector<std::pair<std::string, base::Json>>& changes) {
  return testing_support::message_of<base::ConfigError>([&] { check(changes); });
}

TEST(Recipe, RefusesWhatDoesNotFit) {
  const base::Json none = base::Json::object(), online{{"labels", {"online"}}};
  EXPECT_CONTAINS(refusal({{"student.augment.rate", 0.5}}), "the label set 'teacher' is stored");
  EXPECT_NO_THROW(check({{"student.augment.rate", 0.5}, {"losses.ce", none}, {"losses.kl_tail", online}}));
  EXPECT_CONTAINS(refusal({{"student.screening.most_rank", 5}, {"losses.ce", none}}),
                  "needs a loss that works on labels");
  EXPECT_CONTAINS(refusal({{"student.screening.most_rank", 101}}), "is above 'labels.k'");
  EXPECT_CONTAINS(refusal({{"student.screening.least_probability", 0.1},
                           {"labels.temperatures", {2}},
                           {"losses.ce", none},
                           {"losses.kl_tail.temperature", 2}}),
                  "looks at probabilities at T = 1");
}

}  // namespace
}  // namespace decant::trainer
