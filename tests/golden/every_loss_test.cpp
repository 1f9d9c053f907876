// Every loss of the registry against finite differences, and the edges of docs/losses.md.
#include <ATen/ops/logsumexp.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "models/table.h"
#include "tests/golden/every_loss.h"
#include "tests/golden/golden_file.h"
#include "trainer/row_gather.h"
#include "trainer/scoring.h"

namespace decant::golden {
namespace {

using torch::Tensor;
using trainer::NamedLoss;

/// Small enough to move every element: 4 targets of 3 rows, 9 items, labels of 4, vectors of 6.
struct SmallProblem {
  explicit SmallProblem(bool ragged = false, double drawn_at = 2) : table(9, 4, 3) {
    torch::manual_seed(5);
    const torch::NoGradGuard no_grad;
    table.weight.normal_();
    hidden = torch::randn({4, 4});
    const auto scores = torch::randn({4, 9}) * 2;
    const auto best = scores.sort(true, 1, true);
    teacher.ids = std::get<1>(best).narrow(1, 0, 4).clone(), teacher.logits = std::get<0>(best).narrow(1, 0, 4).clone();
    if (ragged) {
      const auto none = torch::arange(4) >= torch::tensor({4, 2, 3, 1}).unsqueeze(1);
      teacher.ids.masked_fill_(none, -1);
      teacher.logits.masked_fill_(none, -std::numeric_limits<float>::infinity());
    }
    const auto left =
        scores.scatter(1, torch::where(teacher.ids < 0, teacher.ids.select(1, 0).unsqueeze(1), teacher.ids),
                       -std::numeric_limits<float>::infinity());
    for (const double t : {1.0, 2.0, 4.0}) teacher.rest_lse[t] = at::logsumexp(left / t, 1);
    batch.target_ids = {5, 0, 8, 3}, batch.target_weights = {1, 0.5, 2, 0.75};
    batch.sample_ids = {2, 0, 1}, batch.offsets = {0, 2, 3, 4}, batch.target_tokens = {0, 1, 2, 3};
    teacher.target_logit = scores.gather(1, torch::tensor(batch.target_ids).unsqueeze(1)).squeeze(1);
    teacher.logit_mean = scores.mean(1), teacher.logit_variance = scores.var(1, false);
    teacher.draw_weights = torch::rand({4, 4}), teacher.drawn_at = drawn_at;
    teacher.vectors = torch::randn({4, 6});
  }
  [[nodiscard]] static trainer::LossContext context() { return {9, 5, 1, {{"hidden", 4}}, {{"hidden", 6}}}; }
  Tensor sum(const NamedLoss& loss) {
    const trainer::LabelSets sets =
        loss.sets.empty() ? trainer::LabelSets{} : trainer::LabelSets{{loss.sets[0], teacher}};
    const trainer::Scoring scoring({{hidden, &table}, {}}, batch, sets, {loss}, {false, 7, &rows});
    return loss.loss->sum(scoring.inputs(loss, loss.sets.empty() ? "" : loss.sets[0]));
  }
  double value(const NamedLoss& loss) { return sum(loss).item<double>(); }

  models::LocalTable table;
  Tensor hidden;
  data::PackedBatch batch;
  trainer::TeacherLabels teacher;
  std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator(torch::kCPU);
  trainer::RowGather rows{*alone};
};

NamedLoss ready(const std::string& type, base::Json options = base::Json::object()) {
  const auto small = small_options(type);
  for (const auto& [key, value] : small.items()) options[key] = value;
  auto loss = make_loss(type, options);
  loss.loss->prepare(SmallProblem::context());
  return loss;
}

void expect_finite_differences(const NamedLoss& loss, SmallProblem problem) {
  constexpr double kStep = 1e-2;
  problem.hidden.requires_grad_();
  std::vector<Tensor> leaves{problem.hidden, problem.table.weight};
  for (const auto& parameter : loss.loss->parameters()) leaves.push_back(parameter);
  static_cast<void>(problem.sum(loss));
  loss.loss->end_step();  // what the first step fixes for the others
  problem.sum(loss).backward();
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    const Tensor grad = leaves[l].grad().defined() ? leaves[l].grad().clone() : torch::zeros_like(leaves[l]);
    Tensor flat = leaves[l].detach().view({-1}), measured = torch::zeros({flat.numel()});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      const auto before = flat[i].item<float>();
      flat[i] = before + kStep;
      const double up = problem.value(loss);
      flat[i] = before - kStep;
      measured[i] = (up - problem.value(loss)) / (2 * kStep);
      flat[i] = before;
    }
    if (l == 0) {
      EXPECT_GT(grad.abs().max().item<double>(), 0.01) << "no gradient";
    }
    EXPECT_LT(relative(measured.view_as(grad), grad, 0.05), 4e-3) << "tensor " << l;
  }
}

TEST(EveryLoss, FiniteDifferences) {
  for (const std::string& type : trainer::default_registries().losses.names()) {
    SCOPED_TRACE(type);
    const auto loss = ready(type);
    expect_finite_differences(loss, SmallProblem());
    if (loss.loss->needs().label_kinds.contains("top_p")) {
      SCOPED_TRACE("ragged");
      expect_finite_differences(ready(type), SmallProblem(true));
    }
    const auto options = base::write_options(*trainer::default_registries().losses.options_of(type));
    if (options.contains("temperature_schedule"))
      expect_finite_differences(ready(type, {{"temperature", 1}}), SmallProblem(false, 1));
    if (options.contains("direction"))
      for (const char* direction : {"reverse", "jsd"})
        expect_finite_differences(ready(type, {{"direction", direction}}), SmallProblem());
    if (options.contains("symmetric")) expect_finite_differences(ready(type, {{"symmetric", true}}), SmallProblem());
  }
}

/// Value and gradients of a problem that is degenerate in some way are numbers.
void expect_finite(const NamedLoss& loss, SmallProblem& problem) {
  problem.hidden.requires_grad_();
  const auto sum = problem.sum(loss);
  EXPECT_TRUE(std::isfinite(sum.item<double>())) << loss.name;
  sum.backward();
  EXPECT_TRUE(problem.hidden.grad().isfinite().all().item<bool>()) << loss.name;
  const auto& grad = problem.table.weight.grad();
  EXPECT_TRUE(!grad.defined() || grad.isfinite().all().item<bool>()) << loss.name;
}

TEST(EveryLoss, DegenerateRowsStayNumbers) {
  for (const std::string& type : trainer::default_registries().losses.names()) {
    SmallProblem zero;  // no deviation, no length, all ties
    zero.hidden.zero_();
    zero.teacher.logits.fill_(1), zero.teacher.logit_variance.zero_(), zero.teacher.vectors.zero_();
    expect_finite(ready(type), zero);
    SmallProblem far;  // probabilities of 0 and 1
    far.hidden.mul_(1e4), far.teacher.logits.mul_(1e3), far.teacher.target_logit.mul_(1e3);
    expect_finite(ready(type), far);
    SmallProblem sure;  // the target is all there is, on both sides
    sure.teacher.ids.select(1, 0).copy_(torch::tensor(sure.batch.target_ids));
    sure.teacher.ids.narrow(1, 1, 3).copy_(torch::tensor({{6, 7, 1}, {6, 7, 1}, {6, 7, 1}, {6, 7, 1}}));
    sure.teacher.logits.select(1, 0).fill_(200);
    sure.hidden.copy_(sure.table.weight.detach().index_select(0, torch::tensor(sure.batch.target_ids)) * 100);
    expect_finite(ready(type), sure);
  }
}

TEST(Losses, PairsWithoutAnOrderAddNothing) {
  for (const char* type : {"bpr", "margin"}) {
    SmallProblem ties;
    ties.teacher.logits.fill_(3);
    EXPECT_EQ(ties.value(ready(type)), 0) << type;
  }
}

TEST(Losses, AListOfOneAddsNothing) {
  SmallProblem one;
  one.teacher.ids.narrow(1, 1, 3).fill_(-1), one.teacher.logits.narrow(1, 1, 3).fill_(-INFINITY);
  EXPECT_EQ(one.value(ready("list_kl")), 0);
}

TEST(Losses, JsdTendsToBothDirections) {
  SmallProblem problem;
  for (const auto& [beta, direction] : {std::pair(1e-3, "forward"), {1 - 1e-3, "reverse"}}) {
    const auto jsd = ready("kl_tail", {{"direction", "jsd"}, {"beta", beta}, {"scaled", true}});
    const auto limit = ready("kl_tail", {{"direction", direction}});
    EXPECT_NEAR(problem.value(jsd) / problem.value(limit), 1, 1e-2) << direction;
  }
}

TEST(Losses, DkdOfTwoItemsIsRefused) {
  const auto loss = make_loss("dkd");
  EXPECT_THROW(loss.loss->prepare({2, 10}), base::ConfigError);
  EXPECT_NO_THROW(loss.loss->prepare({3, 10}));
}

TEST(Losses, DkdPutsTheKlBackTogether) {  // alpha = 1 and beta = 1 - q_y; the same classes when the target is stored
  SmallProblem problem;
  problem.batch.target_weights = {0, 0, 1, 0};
  problem.batch.target_ids[2] = problem.teacher.ids[2][1].item<std::int64_t>();
  const auto& in = problem.teacher;
  const auto full = at::logsumexp(in.logits, 1).logaddexp(in.rest_lse.at(1));
  const double others = 1 - (in.logits[2][1] - full[2]).exp().item<double>();
  const auto dkd = ready("dkd", {{"temperature", 1}, {"beta", others}});
  EXPECT_NEAR(problem.value(dkd), problem.value(ready("kl_tail", {{"temperature", 1}})), 1e-4);
}

TEST(Losses, ARowAloneHasNoDistances) {
  SmallProblem one;
  one.batch.offsets = {0, 4}, one.batch.sample_ids = {2};  // one row: its last target alone is compared
  EXPECT_EQ(one.value(ready("rkd_distance")), 0);
  EXPECT_NEAR(one.value(ready("info_nce")), 0, 1e-5);
}

TEST(Losses, RowsOfOneVectorHaveNoDistances) {
  SmallProblem same;
  same.hidden = same.hidden[0].clone().expand({4, 4}).clone();
  same.teacher.vectors = same.teacher.vectors[0].clone().expand({4, 6}).clone();
  const auto loss = ready("rkd_distance");
  EXPECT_EQ(same.value(loss), 0);
  expect_finite(loss, same);
}

TEST(Losses, SampledLabelsOfAnotherTemperatureAreRefused) {
  SmallProblem problem(false, 1);
  EXPECT_THROW(static_cast<void>(problem.value(ready("kl_sampled"))), base::ConfigError);
}

TEST(Losses, KlTailTakesAScheduleOfListedTemperaturesOnly) {
  const base::Json linear{{"kind", "linear"}, {"steps", 10}};
  EXPECT_THROW(make_loss("kl_tail", {{"temperature_schedule", linear}}), base::ConfigError);
  auto listed = linear;
  listed["grid"] = {1, 2, 4};
  const auto loss = make_loss("kl_tail", {{"temperature", 4}, {"temperature_schedule", listed}});
  EXPECT_EQ(loss.loss->needs().label_rest_lse, (std::vector<double>{1, 2, 4}));
  std::vector<double> met;
  for (const int step : {0, 5, 20}) {
    loss.loss->begin_step(step);
    met.push_back(loss.loss->needs().label_rest_lse.at(0));
  }
  EXPECT_EQ(met, (std::vector<double>{4, 2, 1}));
}

}  // namespace
}  // namespace decant::golden
