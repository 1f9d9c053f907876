// A wide table through a projection against plain formulas; what is saved of it.
#include "models/projected_table.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "models/sasrec.h"

namespace decant::models {
namespace {

using torch::Tensor;

constexpr std::int64_t kItems = 60, kWidth = 12, kDim = 4;

double difference(const Tensor& a, const Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(ProjectedTable, IsTheProductForwardAndBackward) {
  ProjectedTable table(kItems, kWidth, kDim, 3);
  EXPECT_EQ(table.items(), kItems);
  EXPECT_EQ(table.dim(), kDim);
  const auto hidden = at::randn({7, kDim}), ids = torch::randint(kItems, {9}, torch::kInt64);
  const auto request_ids = torch::arange(14).view({7, 2}).to(torch::kInt64);
  const auto walked = table.walk(hidden, {{1.0, 2.0}, request_ids, 1});
  const auto looked = table.lookup(ids);
  (walked.lse.sum() + walked.logits.square().sum() + looked.sin().sum()).backward();
  const auto weight = table.weight.detach().clone().requires_grad_();
  const auto projection = table.projection.detach().clone().requires_grad_();
  const auto rows = weight.mm(projection.t());
  const auto logits = hidden.mm(rows.t());
  const auto rest = logits.scatter(1, request_ids.narrow(1, 0, 1), -std::numeric_limits<float>::infinity());
  const auto lse = at::logsumexp(rest, 1).sum() + at::logsumexp(rest / 2, 1).sum();
  EXPECT_LT(std::abs((walked.lse.sum() - lse).item<double>()), 1e-4);
  EXPECT_LT(difference(looked, at::embedding(rows, ids)), 1e-6);
  (lse + logits.gather(1, request_ids).square().sum() + at::embedding(rows, ids).sin().sum()).backward();
  EXPECT_LT(difference(table.weight.grad(), weight.grad()), 1e-5);
  EXPECT_LT(difference(table.projection.grad(), projection.grad()), 1e-4);
}

TEST(ProjectedTable, AFrozenWideTableHasNoGradient) {
  ProjectedTable table(kItems, kWidth, kDim, 3);
  table.weight.set_requires_grad(false);
  const auto walked = table.walk(at::randn({3, kDim}), {{1.0}, torch::zeros({3, 1}, torch::kInt64), 0});
  walked.lse.sum().backward();
  EXPECT_FALSE(table.weight.grad().defined());
  EXPECT_GT(table.projection.grad().abs().max().item<double>(), 0);
}

TEST(ProjectedTable, RanksAsATableOfTheProducts) {
  ProjectedTable table(2500, kWidth, kDim, 3);
  LocalTable local(2500, kDim, 1);
  const torch::NoGradGuard no_grad;
  local.weight.copy_(table.compose());
  const auto hidden = at::randn({5, kDim}), targets = torch::randint(2500, {5}, torch::kInt64);
  EXPECT_TRUE(table.rank_of(hidden, targets, {0, 1, 2, 3, 4, 5}, {1, 2, 3, 4, 5})
                  .unseen.equal(local.rank_of(hidden, targets, {0, 1, 2, 3, 4, 5}, {1, 2, 3, 4, 5}).unseen));
  EXPECT_TRUE(table.topk(hidden, {10, {1.0}, targets}).ids.equal(local.topk(hidden, {10, {1.0}, targets}).ids));
  EXPECT_LT(difference(table.moments(hidden).variance, local.moments(hidden).variance), 1e-6);
}

TEST(ProjectedTable, ComposesTheSameBitsAtAnyNumberOfThreads) {
  const ProjectedTable table(2500, 64, 8, 3);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = table.compose();
  at::set_num_threads(2);
  EXPECT_TRUE(table.compose().equal(one));
  at::set_num_threads(before);
}

/// As AdamW does it, by a kernel that need not count up versions.
void step(std::vector<Tensor> parameters) {
  const torch::NoGradGuard no_grad;
  std::vector<Tensor> grads, first, second, steps;
  for (const auto& parameter : parameters) {
    grads.push_back(parameter.grad());
    first.push_back(at::zeros_like(parameter));
    second.push_back(at::zeros_like(parameter));
    steps.push_back(torch::ones({}));
  }
  at::_fused_adamw_(parameters, grads, first, second, {}, steps, 0.1, 0.9, 0.98, 0, 1e-8, false, false);
}

TEST(ProjectedTable, WhatIsKeptIsMadeAgainAfterAStep) {
  ProjectedTable table(kItems, kWidth, kDim, 3);
  const auto rows = [&] {
    const torch::NoGradGuard no_grad;
    return table.rows().clone();
  };
  const auto before = rows();
  EXPECT_TRUE(rows().equal(before));
  table.train();
  table.rows().sum().backward();
  step({table.weight, table.projection});
  table.eval();
  EXPECT_TRUE(rows().equal(table.compose()));
  EXPECT_FALSE(rows().equal(before));
}

SasRecOptions options_of(const std::string& save) {
  SasRecOptions options;
  options.dim = kDim, options.layers = 1, options.heads = 1, options.max_length = 5;
  options.table.kind = "projected", options.table.save = save, options.table.first = "teacher";
  return options;
}

ModelContext context_with(const Tensor& teacher) {
  ModelContext context{.items = kItems, .seed = 1, .teacher_width = teacher.size(1)};
  context.teacher_rows = [=](const torch::Tensor& ids) { return teacher.index_select(0, ids); };
  return context;
}

Inputs some_inputs() {
  Inputs inputs;
  inputs.offsets = {0, 4};
  inputs.columns["items"] = torch::arange(4);
  inputs.positions = torch::arange(4);
  inputs.score_tokens = torch::arange(4);
  return inputs;
}

TEST(ProjectedTable, AStudentOverATeachersTableIsSavedComposedOrInParts) {
  const auto teacher = at::randn({kItems, kWidth});
  for (const std::string save : {"composed", "parts"}) {
    SasRec trained(options_of(save), context_with(teacher));
    trained.eval();
    EXPECT_TRUE(trained.named_parameters()["item.weight"].equal(teacher));
    EXPECT_EQ(trained.parameter_count().table, kItems * kWidth + kDim * kWidth);
    ModelContext exported{.items = kItems, .seed = 9, .teacher_width = kWidth};
    exported.exported = true;
    SasRec read(options_of(save), exported);
    read.eval();
    NamedTensors targets;
    for (const auto& item : read.named_parameters()) targets.emplace_back(item.key(), item.value());
    const torch::NoGradGuard no_grad;
    WeightsFile file{trained.weights(), {}};
    copy_weights(file, "weights", targets);
    const bool composed = save == "composed";
    EXPECT_EQ(read.parameter_count().table, composed ? kItems * kDim : kItems * kWidth + kDim * kWidth);
    EXPECT_EQ(read.spec().contains("table_width"), !composed);
    const auto a = trained.forward(some_inputs(), {}).scores, b = read.forward(some_inputs(), {}).scores;
    EXPECT_LT(difference(a.hidden, b.hidden), 1e-6);
    EXPECT_LT(difference(trained.table().logits_of(a.hidden, torch::arange(kItems)),
                         read.table().logits_of(b.hidden, torch::arange(kItems))),
              1e-5);
  }
}

TEST(ProjectedTable, WidthsMustFitTheTeachers) {
  const auto refusal = [](const TableOptions& options, const ModelContext& context) -> std::string {
    try {
      static_cast<void>(make_table(options, kDim, context));
    } catch (const base::ConfigError& error) {
      return error.what();
    }
    return "";
  };
  TableOptions options;
  options.first = "teacher";
  const auto context = context_with(at::randn({kItems, kWidth}));
  EXPECT_NE(refusal(options, context).find("12 wide, the table's 4"), std::string::npos);
  EXPECT_EQ(refusal(options, context_with(at::randn({kItems, kDim}))), "") << "equal widths need no projection";
  options.kind = "projected", options.width = 11;
  EXPECT_NE(refusal(options, context).find("12 wide, the table's 11"), std::string::npos);
  options.width = 0;
  EXPECT_EQ(refusal(options, context), "");
  EXPECT_NE(refusal(options, {.items = kItems, .seed = 1, .teacher_width = -1}).find("is for students"),
            std::string::npos);
  options.first = "random";
  EXPECT_NE(refusal(options, {.items = kItems, .seed = 1, .teacher_width = -1}).find("this is the teacher"),
            std::string::npos);
}

}  // namespace
}  // namespace decant::models
