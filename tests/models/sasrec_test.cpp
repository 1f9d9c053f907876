#include "models/sasrec.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <set>

#include "base/errors.h"
#include "models/weights_file.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

using test::difference;
using SasRecTest = test::OneThread;

constexpr std::int64_t kItems = 50;

SasRecOptions small() {
  SasRecOptions options;
  options.dim = 16;
  options.layers = 2;
  options.heads = 2;
  options.max_length = 20;
  return options;
}

std::shared_ptr<SasRec> make(const SasRecOptions& options = small(), std::uint64_t seed = 1) {
  return std::make_shared<SasRec>(options, ModelContext{.items = kItems, .seed = seed});
}

Inputs batch(const std::vector<std::int64_t>& lengths) { return test::inputs_of(lengths, kItems); }

TEST_F(SasRecTest, ParameterNamesAreThoseOfTheTwin) {
  std::set<std::string> wanted{"item.weight", "position.weight", "norm.weight", "norm.bias"};
  for (const std::string block : {"blocks.0.", "blocks.1."}) {
    for (const std::string layer : {"norm1", "qkv", "out", "norm2", "up", "down"}) {
      for (const std::string part : {".weight", ".bias"}) wanted.insert(block + layer + part);
    }
  }
  std::set<std::string> names;
  for (const auto& parameter : make()->named_parameters()) names.insert(parameter.key());
  EXPECT_EQ(names, wanted);
  EXPECT_TRUE(make()->named_buffers().is_empty());
}

TEST_F(SasRecTest, CountsParameters) {
  const auto count = make()->parameter_count();
  EXPECT_EQ(count.table, kItems * 16);
  const std::int64_t block = 4 * 16 + (16 * 48 + 48) + (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16);
  EXPECT_EQ(count.encoder, 20 * 16 + 2 * block + 2 * 16);
  EXPECT_EQ(count.total(), count.table + count.encoder);
}

TEST_F(SasRecTest, InitialValuesAreFunctionsOfSeedAndName) {
  torch::manual_seed(123);
  const torch::Tensor before = torch::rand({1});
  torch::manual_seed(123);
  const auto a = make();
  EXPECT_TRUE(torch::equal(torch::rand({1}), before));  // nothing was drawn from the global generator
  SasRecOptions deeper = small();
  deeper.layers = 3;
  deeper.max_length = 20;
  const auto b = make(), c = make(small(), 2), d = make(deeper);
  const auto of = [](const std::shared_ptr<SasRec>& model) { return model->named_parameters(); };
  std::set<std::string> hashes;
  for (const auto& parameter : of(a)) {
    const std::string& name = parameter.key();
    EXPECT_TRUE(torch::equal(parameter.value(), of(b)[name])) << name;
    EXPECT_TRUE(torch::equal(parameter.value(), of(d)[name])) << name;
    if (name.find("norm") != std::string::npos) continue;
    EXPECT_FALSE(torch::equal(parameter.value(), of(c)[name])) << name;
    EXPECT_TRUE(hashes.insert(hash_tensors({{"", parameter.value()}})).second) << name;
  }
}

TEST_F(SasRecTest, InitialValuesHaveTheirSpread) {
  SasRecOptions wide = small();
  wide.dim = 128;
  wide.max_length = 200;
  const auto parameters = make(wide)->named_parameters();
  EXPECT_NEAR(parameters["position.weight"].std().item<double>(), 0.02, 1e-3);
  EXPECT_NEAR(parameters["item.weight"].std().item<double>(), 0.02, 1e-3);
  for (const std::string name : {"blocks.0.qkv.weight", "blocks.1.up.weight", "blocks.0.qkv.bias"}) {
    const double bound = 1 / std::sqrt(128.0);
    EXPECT_LE(parameters[name].abs().max().item<double>(), bound) << name;
    EXPECT_NEAR(parameters[name].std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound) << name;
  }
  EXPECT_LE(parameters["blocks.0.down.weight"].abs().max().item<double>(), 1 / std::sqrt(512.0));
  EXPECT_TRUE(torch::equal(parameters["norm.weight"], torch::ones({128})));
}

TEST_F(SasRecTest, BadOptionsAndTapsAreConfigErrors) {
  SasRecOptions odd = small();
  odd.heads = 3;
  EXPECT_THROW((void)make(odd), base::ConfigError);
  EXPECT_THROW((void)make()->forward(batch({3}), {"block.2"}), base::ConfigError);
}

TEST_F(SasRecTest, TapsAreThoseAskedFor) {
  const auto model = make();
  model->eval();
  EXPECT_EQ(model->tap_names(), (std::vector<std::string>{"embedding", "block.0", "block.1", "hidden"}));
  Inputs inputs = batch({4, 9, 1});
  inputs.score_tokens = torch::tensor({3L, 12L});
  EXPECT_TRUE(model->forward(inputs, {}).taps.empty());
  const Output output = model->forward(inputs, {"embedding", "block.0", "block.1", "hidden"});
  EXPECT_EQ(output.taps.size(), 4u);
  for (const auto& [name, tap] : output.taps) EXPECT_EQ(tap.sizes(), (std::vector<std::int64_t>{14, 16})) << name;
  EXPECT_TRUE(torch::equal(output.scores.hidden, output.taps.at("hidden").index_select(0, inputs.score_tokens)));
  EXPECT_LT(difference(output.scores.hidden, model->forward(inputs, {"block.0"}).scores.hidden), 1e-5);
  EXPECT_EQ(model->forward(inputs, {"block.0"}).taps.size(), 1u);
}

TEST_F(SasRecTest, ScoringFewerTokensChangesNothingElse) {
  const auto model = make();
  Inputs all = batch({4, 9, 1, 20}), some = all;
  some.score_tokens = torch::tensor({3L, 12L, 13L, 20L, 33L});
  const torch::Tensor a = model->forward(all, {}).scores.hidden.index_select(0, some.score_tokens);
  const torch::Tensor b = model->forward(some, {}).scores.hidden;
  EXPECT_LT(difference(a, b), 1e-5);
  const std::vector<torch::Tensor> parameters = model->parameters();
  const torch::Tensor cotangent = torch::randn_like(a);
  const auto grads_a = torch::autograd::grad({a}, parameters, {cotangent});
  const auto grads_b = torch::autograd::grad({b}, parameters, {cotangent});
  for (std::size_t i = 0; i < parameters.size(); ++i) EXPECT_LT(difference(grads_a[i], grads_b[i]), 1e-4) << i;
}

TEST_F(SasRecTest, IsCausal) {
  const auto model = make();
  model->eval();
  Inputs inputs = batch({12});
  const torch::Tensor before = model->forward(inputs, {}).scores.hidden;
  inputs.columns["items"] = inputs.items().clone();
  inputs.columns["items"][7] = (inputs.items()[7] + 1) % kItems;
  const torch::Tensor moved = (model->forward(inputs, {}).scores.hidden - before).abs().amax(1);
  EXPECT_EQ(moved.narrow(0, 0, 7).max().item<double>(), 0);
  EXPECT_GT(moved.narrow(0, 7, 5).min().item<double>(), 0);
}

TEST_F(SasRecTest, DropoutIsActiveInTrainingOnlyAndKeyed) {
  const auto model = make();
  Inputs inputs = batch({4, 9});
  const torch::Tensor first = model->forward(inputs, {}).scores.hidden;
  EXPECT_TRUE(torch::equal(first, model->forward(inputs, {}).scores.hidden));
  Inputs others = inputs;
  others.token_keys = (inputs.token_keys + 1).remainder(std::int64_t{1} << 32);
  EXPECT_GT(difference(first, model->forward(others, {}).scores.hidden), 1e-2);
  model->eval();
  const torch::Tensor still = model->forward(inputs, {}).scores.hidden;
  EXPECT_TRUE(torch::equal(still, model->forward(others, {}).scores.hidden));
  model->train();
  Inputs without = inputs;
  without.token_keys.reset();
  EXPECT_TRUE(torch::equal(still, model->forward(without, {}).scores.hidden));
}

TEST_F(SasRecTest, AttentionDropoutHasItsOwnRate) {
  SasRecOptions options = small();
  options.dropout = 0;
  Inputs inputs = batch({15});
  const torch::Tensor as_dropout = make(options)->forward(inputs, {}).scores.hidden;
  options.attention_dropout = 0.5;
  EXPECT_GT(difference(as_dropout, make(options)->forward(inputs, {}).scores.hidden), 1e-3);
}

TEST_F(SasRecTest, ASampleHasItsResultInAnyBatch) {
  const auto model = make();
  const Inputs inputs = batch({4, 9, 1, 20, 7});
  const torch::Tensor together = model->forward(inputs, {}).scores.hidden;
  for (std::size_t s = 0; s < 5; ++s) {
    const Inputs one = test::alone(inputs, s);
    // Small products round otherwise; another mask would differ by far more.
    EXPECT_LT(difference(model->forward(one, {}).scores.hidden, together.narrow(0, inputs.offsets[s], one.tokens())),
              1e-5)
        << s;
  }
}

TEST_F(SasRecTest, EmptyBatchHasZeroGradients) {
  const auto model = make();
  for (const std::vector<std::int64_t>& lengths : {std::vector<std::int64_t>{}, {0}}) {
    for (const std::set<std::string>& taps : {std::set<std::string>{}, {"hidden"}}) {
      const Output output = model->forward(batch(lengths), taps);
      EXPECT_EQ(output.scores.hidden.sizes(), (std::vector<std::int64_t>{0, 16}));
      output.scores.hidden.sum().backward();
      for (const auto& parameter : model->named_parameters()) {
        if (!parameter.value().grad().defined()) continue;
        EXPECT_EQ(parameter.value().grad().abs().sum().item<double>(), 0) << parameter.key();
      }
    }
  }
  Inputs none = batch({4, 9});
  none.score_tokens = torch::empty({0}, torch::kLong);
  EXPECT_EQ(model->forward(none, {}).scores.hidden.size(0), 0);
}

TEST_F(SasRecTest, RegisteredWithItsOptions) {
  ModelRegistry registry("model");
  register_models(registry);
  base::KindOptions kind{"sasrec", registry.options_of("sasrec")};
  dynamic_cast<SasRecOptions&>(*kind.options).dim = 32;
  const auto model = registry.make(kind, ModelContext{.items = 10, .seed = 3});
  EXPECT_EQ(model->table().dim(), 32);
  EXPECT_EQ(model->table().items(), 10);
  EXPECT_EQ(model->max_length(), 50);
  const auto spec = model->spec();
  EXPECT_EQ(spec.at("model"), "sasrec");
  EXPECT_EQ(spec.at("items"), "10");
  EXPECT_EQ(spec.at("dim"), "32");
  EXPECT_EQ(spec.at("layers"), "2");
  EXPECT_EQ(spec.at("heads"), "2");
  EXPECT_EQ(spec.at("max_length"), "50");
}

}  // namespace
}  // namespace decant::models
