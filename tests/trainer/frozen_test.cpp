// Frozen parameters: patterns of names, and what is left out of a step.
#include "trainer/frozen.h"

#include <gtest/gtest.h>

#include "dist/gradient_reducer.h"
#include "tests/trainer/support.h"
#include "trainer/job.h"

namespace decant::trainer {
namespace {

using base::ConfigError;
using testing_support::message_of;

const std::vector<std::string> kNames{"item.weight", "position.weight", "blocks.0.qkv.weight", "blocks.1.qkv.weight"};

std::string refusal(const std::vector<std::string>& patterns) {
  return message_of<ConfigError>([&] { check_frozen_patterns(patterns, kNames, "train.frozen"); });
}

TEST(Frozen, PatternsAreOfWholeNames) {
  EXPECT_TRUE(fits("item.weight", "item.weight"));
  EXPECT_FALSE(fits("item.weight", "item"));
  EXPECT_FALSE(fits("item.weight", "weight"));
  EXPECT_TRUE(fits("item.weight", "item.*"));
  EXPECT_TRUE(fits("item.weight", "*"));
  EXPECT_TRUE(fits("item.weight", "*.weight*"));
  EXPECT_TRUE(fits("blocks.0.qkv.weight", "blocks.?.*.weight"));
  EXPECT_FALSE(fits("blocks.10.qkv.weight", "blocks.?.qkv.weight"));
  EXPECT_TRUE(fits("aXbXc", "a*b*c"));
  EXPECT_FALSE(fits("aXbX", "a*b*c"));
  EXPECT_TRUE(fits("", "*"));
  EXPECT_FALSE(fits("", "?"));
  EXPECT_FALSE(fits("a", ""));
}

TEST(Frozen, AnUnknownPatternNamesTheNearest) {
  EXPECT_EQ(refusal({"item.wieght"}),
            "'train.frozen': no parameter is named 'item.wieght'; did you mean 'item.weight'?");
  EXPECT_CONTAINS(refusal({"item.*", "block.0.*"}), "'block.0.*'; did you mean 'blocks.0.*'?");
  EXPECT_CONTAINS(refusal({"zzz"}), "(known: item.weight, position.weight, blocks.0.qkv.weight");
  EXPECT_CONTAINS(refusal({"item.*", "position.*", "blocks.*"}), "freezes every parameter");
  EXPECT_NO_THROW(check_frozen_patterns({"item.*", "blocks.0.*"}, kNames, "train.frozen"));
  EXPECT_NO_THROW(check_frozen_patterns({}, kNames, "train.frozen"));
}

TEST(Frozen, LastsAsLongAsItLives) {
  auto a = torch::ones({3}).requires_grad_(), b = torch::ones({3}).requires_grad_();
  auto c = torch::ones({3});  // never trained
  const models::NamedTensors all{{"a", a}, {"b", b}, {"c", c}};
  {
    const Frozen frozen(all, {"a", "c"});
    EXPECT_FALSE(a.requires_grad());
    EXPECT_TRUE(b.requires_grad());
    const auto left = trainable(all);
    ASSERT_EQ(left.size(), 1U);
    EXPECT_EQ(left[0].first, "b");
  }
  EXPECT_TRUE(a.requires_grad());
  EXPECT_FALSE(c.requires_grad()) << "what was not trained before is not afterwards";
}

TEST(Frozen, HasNoGradientNoDecayNoStateAndNoPlaceInTheExchange) {
  auto a = torch::ones({1000}).requires_grad_(), b = torch::ones({5}).requires_grad_();
  const models::NamedTensors all{{"a", a}, {"b", b}};
  const Frozen frozen(all, {"a"});
  const auto registries = default_registries();
  base::KindOptions kind{"adamw", registries.optimizers.options_of("adamw")};
  base::read_options({{"lr", 0.1}, {"weight_decay", 0.5}}, *kind.options);
  const auto optimizer = registries.optimizers.make(kind, trainable(all));
  for (const auto& [name, tensor] : optimizer->state()) EXPECT_TRUE(name.starts_with("b/")) << name;
  const auto communicator = dist::make_single_communicator(torch::kCPU);
  dist::GradientReducer reducer({a, b}, *communicator);
  reducer.begin();
  reducer.arm();
  (a.sum() * b.sum()).backward();
  EXPECT_LT(reducer.finish().bytes, 1000) << "the frozen one is not exchanged";
  optimizer->step(0.1);
  EXPECT_FALSE(a.grad().defined());
  EXPECT_TRUE(a.equal(torch::ones({1000}))) << "decayed";
  EXPECT_FALSE(b.equal(torch::ones({5})));
}

}  // namespace
}  // namespace decant::trainer
