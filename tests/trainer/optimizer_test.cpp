// Optimisers against those of LibTorch's own frontend.
#include "trainer/optimizer.h"

#include <gtest/gtest.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include "tests/trainer/support.h"
#include "trainer/job.h"

namespace decant::trainer {
namespace {

using torch::Tensor;

constexpr int kSteps = 20;

const OptimizerRegistry& registry() {
  static const Registries all = default_registries();
  return all.optimizers;
}

std::shared_ptr<Optimizer> make(const std::string& type, const base::Json& options, const NamedTensors& parameters) {
  base::KindOptions kind{type, registry().options_of(type)};
  base::read_options(options, *kind.options);
  return registry().make(kind, parameters);
}

NamedTensors make_parameters() {
  torch::manual_seed(1);
  return {{"a", torch::randn({7, 5}).requires_grad_()}, {"b", torch::randn({11}).requires_grad_()}};
}

/// The gradients of step `step`, of very different sizes.
void set_gradients(const NamedTensors& parameters, int step) {
  torch::manual_seed(100 + step);
  for (const auto& [name, parameter] : parameters)
    parameter.mutable_grad() = torch::randn(parameter.sizes()) * std::pow(10.0, step % 5 - 2);
}

double lr_of(int step) { return 0.01 * (1 + step % 3); }

/// `theirs` steps on a copy of the parameters at the same learning rates.
void expect_equal(Optimizer& ours, const NamedTensors& parameters, torch::optim::Optimizer& theirs,
                  const std::vector<Tensor>& copies) {
  for (int step = 0; step < kSteps; ++step) {
    set_gradients(parameters, step);
    for (std::size_t i = 0; i < copies.size(); ++i) copies[i].mutable_grad() = parameters[i].second.grad().clone();
    theirs.param_groups()[0].options().set_lr(lr_of(step));
    theirs.step();
    ours.step(lr_of(step));
    for (std::size_t i = 0; i < copies.size(); ++i)
      ASSERT_LT((parameters[i].second - copies[i]).abs().max().item<double>(), 1e-6 * (1 + step))
          << parameters[i].first << ", step " << step;
  }
}

std::vector<Tensor> copies_of(const NamedTensors& parameters) {
  std::vector<Tensor> out;
  for (const auto& [name, parameter] : parameters) out.push_back(parameter.detach().clone().requires_grad_());
  return out;
}

TEST(Optimizers, AdamWIsTorchs) {
  const auto parameters = make_parameters();
  const auto copies = copies_of(parameters);
  const auto ours =
      make("adamw", {{"lr", 0.01}, {"beta1", 0.8}, {"beta2", 0.97}, {"eps", 1e-7}, {"weight_decay", 0.1}}, parameters);
  torch::optim::AdamW theirs(copies, torch::optim::AdamWOptions(0.01).betas({0.8, 0.97}).eps(1e-7).weight_decay(0.1));
  EXPECT_EQ(ours->base_lr(), 0.01);
  expect_equal(*ours, parameters, theirs, copies);
}

TEST(Optimizers, SgdIsTorchs) {
  for (const bool nesterov : {false, true})
    for (const double momentum : {0.0, 0.9}) {
      if (nesterov && momentum == 0) continue;
      SCOPED_TRACE(std::to_string(momentum) + (nesterov ? ", nesterov" : ""));
      const auto parameters = make_parameters();
      const auto copies = copies_of(parameters);
      const auto ours = make(
          "sgd", {{"lr", 0.01}, {"momentum", momentum}, {"nesterov", nesterov}, {"weight_decay", 0.05}}, parameters);
      torch::optim::SGD theirs(copies,
                               torch::optim::SGDOptions(0.01).momentum(momentum).nesterov(nesterov).weight_decay(0.05));
      expect_equal(*ours, parameters, theirs, copies);
    }
}

TEST(Optimizers, NesterovNeedsMomentum) {
  EXPECT_CONTAINS(testing_support::message_of<base::ConfigError>([] {
                    static_cast<void>(make("sgd", {{"nesterov", true}}, make_parameters()));
                  }),
                  "nesterov needs a momentum");
}

TEST(Optimizers, ContinueFromTheirStateToTheBit) {
  for (const auto& [type, options] : {std::pair<std::string, base::Json>{"adamw", {{"weight_decay", 0.1}}},
                                      {"sgd", {{"momentum", 0.9}, {"nesterov", true}}}}) {
    const auto whole = make_parameters(), cut = make_parameters(), fresh = make_parameters();
    const auto one = make(type, options, whole), two = make(type, options, cut), three = make(type, options, fresh);
    for (int step = 0; step < kSteps; ++step) {
      set_gradients(whole, step);
      one->step(lr_of(step));
      const bool late = step >= kSteps / 2;
      if (step == kSteps / 2) {
        const torch::NoGradGuard no_grad;
        for (std::size_t i = 0; i < cut.size(); ++i) fresh[i].second.copy_(cut[i].second);
        auto from = two->state(), to = three->state();
        ASSERT_EQ(from.size(), to.size());
        for (std::size_t i = 0; i < from.size(); ++i) {
          EXPECT_EQ(from[i].first, to[i].first);
          EXPECT_TRUE(from[i].first.starts_with(i < from.size() / 2 ? "a/" : "b/")) << from[i].first;
          to[i].second.copy_(from[i].second);
        }
      }
      set_gradients(late ? fresh : cut, step);
      (late ? three : two)->step(lr_of(step));
    }
    for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_TRUE(whole[i].second.equal(fresh[i].second)) << type;
  }
}

}  // namespace
}  // namespace decant::trainer
