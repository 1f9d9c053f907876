// One walk for several label sets: each loss gets what it would get alone.
#include <ATen/ops/logsumexp.h>
#include <gtest/gtest.h>

#include "models/table.h"
#include "tests/golden/every_loss.h"
#include "tests/golden/golden_file.h"
#include "trainer/scoring.h"

namespace decant::golden {
namespace {

using torch::Tensor;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Asks for everything that can be had of label sets.
class Asks : public trainer::Loss {
 public:
  trainer::LossNeeds needs() const override {
    trainer::LossNeeds needs;
    needs.labels = needs.label_logits = needs.target_logits = needs.moments = true;
    needs.full_lse = needs.rest_lse = needs.outside_lse = {1, 3};
    needs.drawn = 6;
    return needs;
  }
  Tensor sum(const trainer::LossInputs& in) override { return in.target_weights.sum(); }
};

struct Problem {
  Problem() : table(17, 5, 3) {
    torch::manual_seed(9);
    const torch::NoGradGuard no_grad;
    table.weight.normal_();
    hidden = torch::randn({4, 5});
    batch.target_ids = {2, 9, 4, 16}, batch.target_weights = {1, 2, 3, 4};
    batch.sample_ids = {7, 3}, batch.offsets = {0, 3, 5}, batch.target_tokens = {0, 2, 3, 4};
    first.ids = torch::tensor({{2, 5, 7}, {1, 0, 3}, {8, -1, -1}, {16, 2, 1}});
    second.ids = torch::tensor({{7, 9}, {9, 4}, {4, 8}, {2, -1}});
    for (auto* set : {&first, &second})
      set->logits = torch::zeros(set->ids.sizes()).masked_fill(set->ids < 0, -kInfinity);
    loss.sets = {"a", "b"};
  }
  [[nodiscard]] trainer::Scoring score(const trainer::LabelSets& sets, std::uint64_t key = 5) {
    return {{{hidden, &table}, {}}, batch, sets, {loss}, {false, key, nullptr}};
  }
  models::LocalTable table;
  Tensor hidden;
  data::PackedBatch batch;
  trainer::TeacherLabels first, second;
  trainer::NamedLoss loss{"asks", 1, std::make_shared<Asks>()};
};

double gap(const Tensor& a, const Tensor& b) { return difference(a, b); }

TEST(Scoring, SetsShareAWalk) {
  Problem p;
  const torch::NoGradGuard no_grad;
  const auto logits = p.hidden.mm(p.table.weight.t());
  const auto both = p.score({{"a", p.first}, {"b", p.second}});
  for (const auto& [name, set] : {std::pair<std::string, trainer::TeacherLabels&>("a", p.first), {"b", p.second}}) {
    const auto in = both.inputs(p.loss, name);
    const auto wanted = logits.gather(1, set.ids.clamp_min(0)).masked_fill(set.ids < 0, -kInfinity);
    EXPECT_LT(gap(in.student.label_logits, wanted), 1e-5) << name;
    const auto listed = (set.ids.unsqueeze(2) == torch::arange(17)).any(1);
    const auto with_target = listed | (torch::tensor(p.batch.target_ids).unsqueeze(1) == torch::arange(17));
    for (const double t : {1.0, 3.0}) {
      const auto over = [&](const Tensor& left_out) {
        return at::logsumexp((logits / t).masked_fill(left_out, -kInfinity), 1);
      };
      EXPECT_LT(gap(in.student.rest_lse.at(t), over(listed)), 1e-5) << name;
      EXPECT_LT(gap(in.student.outside_lse.at(t), over(with_target)), 1e-5) << name;
      EXPECT_LT(gap(in.student.full_lse.at(t), at::logsumexp(logits / t, 1)), 1e-5) << name;
    }
  }
}

TEST(Scoring, MomentsAreThoseOfTheWholeCatalogue) {
  Problem p;
  const torch::NoGradGuard no_grad;
  const auto logits = p.hidden.mm(p.table.weight.t());
  const auto scoring = p.score({{"a", p.first}, {"b", p.second}});
  const auto in = scoring.inputs(p.loss, "a");
  EXPECT_LT(gap(in.student.logit_mean, logits.mean(1)), 1e-5);
  EXPECT_LT(gap(in.student.logit_variance, logits.var(1, false)), 1e-4);
}

TEST(Scoring, DrawnItemsAreAFunctionOfTheStepAndNotTheRowsOwn) {
  Problem p;
  const torch::NoGradGuard no_grad;
  const auto logits = p.hidden.mm(p.table.weight.t());
  const auto drawn = [&](std::uint64_t key) {
    return p.score({{"a", p.first}, {"b", p.second}}, key).inputs(p.loss, "a").student.drawn_logits;
  };
  const auto here = drawn(5);
  EXPECT_TRUE(here.equal(drawn(5)));
  EXPECT_FALSE(here.equal(drawn(6)));
  ASSERT_EQ(here.size(1), 6);
  std::set<std::int64_t> columns;
  for (std::int64_t row = 0; row < 4; ++row)
    for (std::int64_t c = 0; c < 6; ++c) {
      const auto at = (logits[row] - here[row][c]).abs().argmin().item<std::int64_t>();
      const auto own =
          (p.first.ids[row] == at).any().item<bool>() || p.batch.target_ids[static_cast<std::size_t>(row)] == at;
      if (here[row][c].item<float>() == -kInfinity) continue;
      EXPECT_FALSE(own) << "row " << row << " was given its own item";
      columns.insert(at);
    }
  EXPECT_LE(columns.size(), 6U) << "one set for all rows";
}

TEST(Scoring, SharesOfSetsSumToOneWhereAnyIsPresent) {
  Problem p;
  const auto split = make_loss("mse", {{"labels", {"a", "b"}}, {"shares", {1, 3}}});
  p.loss.sets = split.sets, p.loss.sharing = split.sharing;
  p.first.present = torch::tensor({true, true, false, false});
  p.second.present = torch::tensor({true, false, true, false});
  const auto scoring = p.score({{"a", p.first}, {"b", p.second}});
  const auto a = scoring.inputs(p.loss, "a"), b = scoring.inputs(p.loss, "b");
  EXPECT_TRUE(a.target_weights.equal(torch::tensor({0.25f, 2.0f}))) << a.target_weights;
  EXPECT_TRUE(b.target_weights.equal(torch::tensor({0.75f, 3.0f}))) << b.target_weights;
  EXPECT_TRUE(a.target_ids.equal(torch::tensor({2, 9}))) << "absent labels never reach a loss";
  EXPECT_TRUE(b.sample_ids.equal(torch::tensor({7, 3}))) << b.sample_ids;
  EXPECT_EQ(a.student.rest_lse.at(3).size(0), 2);
  EXPECT_THROW(make_loss("mse", {{"labels", {"a", "b"}}, {"shares", {1}}}), base::ConfigError);
}

TEST(Scoring, SharesGoByConfidenceAndAgreement) {
  Problem p;
  for (auto* set : {&p.first, &p.second}) {
    set->rest_lse[1] = torch::zeros({4});
    set->target_logit = torch::full({4}, set == &p.first ? -1.0f : 2.0f);
  }
  p.second.present = torch::tensor({true, true, true, false});
  const auto weights = torch::tensor({1.0f, 2.0f, 3.0f, 4.0f});
  for (const auto& [sharing, rule] : {std::pair("confidence", trainer::ShareRule::kConfidence),
                                      {"disagreement", trainer::ShareRule::kDisagreement}}) {
    const auto split = make_loss("mse", {{"labels", {"a", "b"}}, {"shares", {1, 3}}, {"sharing", sharing}});
    p.loss.sets = split.sets, p.loss.sharing = split.sharing;
    const auto shares = trainer::label_shares({&p.first, &p.second}, rule, {1, 3}, 4, torch::kCPU);
    EXPECT_GT((shares.sum(1) - 1).abs().max().item<float>(), rule == trainer::ShareRule::kConfidence ? -1 : 0.1F);
    const auto scoring = p.score({{"a", p.first}, {"b", p.second}});
    EXPECT_TRUE(scoring.inputs(p.loss, "a").target_weights.allclose(weights * shares.select(1, 0))) << sharing;
    EXPECT_TRUE(scoring.inputs(p.loss, "b").target_weights.allclose((weights * shares.select(1, 1)).narrow(0, 0, 3)));
    EXPECT_FALSE(scoring.gate_objective(p.loss).defined());
  }
}

TEST(Scoring, AGateLearnsWhichTeacherKnowsTheTarget) {
  Problem p;
  const auto split = make_loss("mse", {{"labels", {"a", "b"}}, {"sharing", "gate"}});
  p.loss.sets = split.sets, p.loss.sharing = split.sharing;
  p.loss.sharing->prepare({17, 9, 1, {{"hidden", 5}}});
  for (auto* set : {&p.first, &p.second}) {
    set->rest_lse[1] = torch::zeros({4});
    set->target_logit = torch::full({4}, set == &p.first ? -1.0f : 2.0f);
  }
  p.second.present = torch::tensor({true, true, true, false});
  const auto step = [&](bool last) {
    const auto scoring = p.score({{"a", p.first}, {"b", p.second}});
    const auto objective = scoring.gate_objective(p.loss);
    const auto shares = scoring.inputs(p.loss, "a").target_weights / torch::tensor({1.0f, 2.0f, 3.0f, 4.0f});
    EXPECT_EQ(shares[3].item<float>(), 1) << "the only one that has a label";
    if (last) return std::pair(shares[0].item<float>(), objective.item<float>());
    objective.backward();
    const torch::NoGradGuard no_grad;
    for (auto& parameter : p.loss.sharing->parameters()) {
      parameter.sub_(0.5 * parameter.grad());
      parameter.grad().zero_();
    }
    return std::pair(shares[0].item<float>(), objective.item<float>());
  };
  const auto first = step(false);
  EXPECT_EQ(first.first, 0.5f) << "equal shares at first";
  for (int i = 0; i < 50; ++i) step(false);
  const auto last = step(true);
  EXPECT_LT(last.first, 0.1f) << "the other gives the target more";
  EXPECT_LT(last.second, first.second);
}

TEST(Scoring, NamesRowsOfTargets) {
  Problem p;
  const auto in = p.score({{"a", p.first}, {"b", p.second}}).inputs(p.loss, "a");
  EXPECT_TRUE(in.sample_ids.equal(torch::tensor({7, 7, 3, 3})));
  EXPECT_TRUE(in.is_last.equal(torch::tensor({false, true, false, true})));
}

}  // namespace
}  // namespace decant::golden
