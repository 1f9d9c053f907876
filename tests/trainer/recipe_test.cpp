// Steps beyond losses on a small dataset: perturbed vectors against the formula, the teacher in the step, screening.
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "models/sasrec.h"
#include "tests/trainer/support.h"
#include "trainer/next_item.h"
#include "trainer/scoring.h"

namespace decant::trainer {
namespace {

using testing_support::Alone;
using testing_support::TempFolder;
using torch::Tensor;

constexpr double kEpsilon = 0.3, kWeight = 0.5;

class RecipeTest : public testing::Test {
 protected:
  RecipeTest() : alone_(folder_.path()) {
    data::testing_support::write_rows(folder_ / "data", data::testing_support::ragged_rows(30));
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
    batch_.batch = dataset_->training_batch(data::testing_support::all_rows(*dataset_), 8);
  }

  [[nodiscard]] std::shared_ptr<models::SasRec> make_model(std::int64_t dim, std::uint64_t seed) const {
    models::SasRecOptions options;
    options.dim = dim, options.layers = 1, options.heads = 1, options.max_length = 8, options.dropout = 0;
    const auto model =
        std::make_shared<models::SasRec>(options, models::ModelContext{.items = dataset_->info().items, .seed = seed});
    const torch::NoGradGuard no_grad;
    model->named_parameters()["item.weight"].mul_(20);
    return model;
  }

  [[nodiscard]] NextItem make_task(const std::shared_ptr<models::SasRec>& model, const RunFacts& facts,
                                   const std::vector<std::string>& names = {"ce"}) {
    const auto registries = default_registries();
    std::vector<NamedLoss> losses;
    for (const auto& name : names) {
      base::KindOptions kind{name, registries.losses.options_of(name)};
      if (name != "ce") base::read_options({{"labels", {"online"}}}, *kind.options);
      losses.push_back(name_loss(name, *kind.options, registries.losses.make(kind)));
    }
    return {model, std::move(losses), *dataset_, softmax_, alone_.context, facts};
  }

  /// Mean-free cross-entropy by dense logits.
  Tensor dense(models::SasRec& model, const Tensor& shift) const {
    auto inputs = make_inputs(batch_.batch, torch::kCPU, 5);
    inputs.embedding_shift = shift;
    const auto hidden = model.forward(inputs, {}).scores.hidden;
    const auto targets = torch::tensor(batch_.batch.target_ids, torch::kInt64);
    return at::cross_entropy_loss(hidden.mm(model.named_parameters()["item.weight"].t()), targets, {},
                                  at::Reduction::Sum);
  }

  TempFolder folder_;
  Alone alone_;
  std::unique_ptr<data::Dataset> dataset_;
  data::LabelledBatch batch_;
  SoftmaxOptions softmax_;
};

TEST_F(RecipeTest, PerturbationIsEachRowsGradientAtALength) {
  const auto model = make_model(6, 3);
  RunFacts facts;
  facts.perturbation.epsilon = kEpsilon, facts.perturbation.weight = kWeight;
  auto task = make_task(model, facts);
  const auto got = task.loss_sums(batch_, 5)[0];
  auto shift = at::zeros({batch_.batch.tokens(), 6}).requires_grad_();
  const auto plain = dense(*model, shift);
  const auto gradient = torch::autograd::grad({plain}, {shift}, {}, true)[0];
  auto moved = gradient.clone();
  for (std::size_t s = 0; s + 1 < batch_.batch.offsets.size(); ++s) {
    auto row = moved.narrow(0, batch_.batch.offsets[s], batch_.batch.offsets[s + 1] - batch_.batch.offsets[s]);
    row.mul_(kEpsilon / row.norm());
  }
  const auto second = dense(*model, moved);
  EXPECT_GT((second - plain).item<double>(), 0) << "it is against the student";
  const auto wanted = plain + kWeight * second;
  EXPECT_NEAR(got.item<double>(), wanted.item<double>(), 1e-4 * wanted.item<double>());
  const auto weight = model->named_parameters()["item.weight"];
  const auto got_gradient = torch::autograd::grad({got}, {weight})[0];
  const auto wanted_gradient = torch::autograd::grad({wanted}, {weight})[0];
  EXPECT_LT((got_gradient - wanted_gradient).abs().max().item<double>(), 1e-3);
}

TEST_F(RecipeTest, ARowsShiftDependsOnThatRowAlone) {
  const auto model = make_model(6, 3);
  RunFacts facts;
  facts.perturbation.epsilon = kEpsilon;
  auto task = make_task(model, facts);
  const double whole = task.loss_sums(batch_, 5)[0].item<double>();
  const auto rows = data::testing_support::all_rows(*dataset_);
  double parts = 0;
  for (const auto& [first, last] : {std::pair<std::size_t, std::size_t>{0, 13}, {13, 30}}) {
    data::LabelledBatch part;
    part.batch = dataset_->training_batch(
        {rows.begin() + static_cast<std::ptrdiff_t>(first), rows.begin() + static_cast<std::ptrdiff_t>(last)}, 8);
    parts += task.loss_sums(part, 5)[0].item<double>();
  }
  EXPECT_NEAR(parts, whole, 1e-4 * whole);
}

TEST_F(RecipeTest, TheOnlineTeacherIsItsOwnTopK) {
  const auto teacher = make_model(12, 8), student = make_model(6, 3);
  OnlineTeacher online(teacher, 7);
  const auto inputs = make_inputs(batch_.batch, torch::kCPU, 5);
  const auto targets = torch::tensor(batch_.batch.target_ids, torch::kInt64);
  const auto labels = online.labels(inputs, targets, {{1.0, 2.0}, true, true});
  teacher->eval();
  const torch::NoGradGuard no_grad;
  const auto logits = teacher->forward(inputs, {}).scores.hidden.mm(teacher->named_parameters()["item.weight"].t());
  const auto best = logits.topk(7, 1);
  const auto gap = [](const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); };
  EXPECT_LT(gap(labels.logits, std::get<0>(best)), 1e-4);
  EXPECT_LT(gap(labels.target_logit, logits.gather(1, targets.unsqueeze(1)).squeeze(1)), 1e-4);
  const auto rest = logits.scatter(1, labels.ids, -std::numeric_limits<float>::infinity());
  EXPECT_LT(gap(labels.rest_lse.at(2.0), at::logsumexp(rest / 2, 1)), 1e-4);
  EXPECT_LT(gap(labels.logit_mean, logits.mean(1)), 1e-4);
  EXPECT_LT(gap(labels.logit_variance, logits.var(1, false)), 1e-3);
}

TEST_F(RecipeTest, ScreenedLabelsWeighLessAndAreCounted) {
  const auto student = make_model(6, 3);
  RunFacts facts;
  facts.online = std::make_shared<OnlineTeacher>(make_model(12, 8), 7);
  const auto sums = [&](double keep, std::int64_t most_rank) {
    facts.screening.keep = keep, facts.screening.most_rank = most_rank;
    auto task = make_task(student, facts, {"ce", "kl_tail"});
    const auto parts = task.loss_sums(batch_, 5);
    const auto counts = task.take_counts();
    return std::tuple(parts[0].item<double>(), parts[1].item<double>(), counts);
  };
  const auto [ce, kl, none] = sums(0, 0);
  EXPECT_TRUE(none.empty());
  const auto [ce_kept, kl_kept, counts] = sums(1, 1);
  ASSERT_EQ(counts.size(), 3U);
  EXPECT_EQ(counts[0].count, batch_.batch.targets());
  EXPECT_GT(counts[1].count, 0);
  EXPECT_EQ(counts[2].count, 0);
  EXPECT_DOUBLE_EQ(kl_kept, kl) << "kept whole";
  const auto [ce_dropped, kl_dropped, again] = sums(0, 1);
  const auto [ce_half, kl_half, once_more] = sums(0.5, 1);
  EXPECT_DOUBLE_EQ(ce_dropped, ce) << "a loss without labels does not change";
  EXPECT_LT(kl_dropped, kl);
  EXPECT_NEAR(kl_half, (kl + kl_dropped) / 2, 1e-4 * kl);
}

TEST_F(RecipeTest, TargetsThatNoSetLabelsLeaveTheDivisor) {
  const auto registries = default_registries();
  std::vector<NamedLoss> losses;
  const auto add = [&](const std::string& type, const base::Json& options) {
    base::KindOptions kind{type, registries.losses.options_of(type)};
    base::read_options(options, *kind.options);
    losses.push_back(name_loss(type, *kind.options, registries.losses.make(kind)));
  };
  add("ce", base::Json::object());
  add("mse", {{"labels", {"a"}}});
  add("kl_tail", {{"labels", {"a", "b"}}});
  add("rkd_distance", {{"labels", {"a"}}});  // the last target of every row
  RunFacts facts;
  facts.vector_widths["a"] = 4;
  NextItem task(make_model(6, 3), losses, *dataset_, softmax_, alone_.context, facts);
  const auto& weights = batch_.batch.target_weights;
  const auto rows = rows_of_targets(batch_.batch);
  double in_a = 0, in_any = 0, last_in_a = 0, all = 0;
  data::LabelRows a, b;
  for (std::size_t t = 0; t < weights.size(); ++t) {
    a.present.push_back(t % 3 != 0), b.present.push_back(t % 2 == 0);
    all += weights[t];
    if (t % 3 != 0) in_a += weights[t];
    if (t % 3 != 0 || t % 2 == 0) in_any += weights[t];
    if (t % 3 != 0 && (t + 1 == weights.size() || rows[t + 1] != rows[t])) last_in_a += weights[t];
  }
  batch_.labels = {{"a", a}, {"b", b}};
  const std::vector<double> wanted{all, in_a, in_any, last_in_a};
  for (std::size_t l = 0; l < wanted.size(); ++l) EXPECT_DOUBLE_EQ(task.loss_weight(l, batch_), wanted[l]) << l;
  batch_.labels.at("b").present.clear();  // it has every target
  EXPECT_DOUBLE_EQ(task.loss_weight(2, batch_), all);
}

}  // namespace
}  // namespace decant::trainer
