#include "models/gru4rec.h"

#include <gtest/gtest.h>

#include <set>

#include "base/errors.h"
#include "models/weights_file.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

using test::difference;
using Gru4RecTest = test::OneThread;

constexpr std::int64_t kItems = 50;

Gru4RecOptions small() {
  Gru4RecOptions options;
  options.dim = 16;
  options.hidden = 24;
  options.layers = 2;
  options.max_length = 20;
  return options;
}

std::shared_ptr<Gru4Rec> make(const Gru4RecOptions& options = small(), std::uint64_t seed = 1) {
  return std::make_shared<Gru4Rec>(options, ModelContext{.items = kItems, .seed = seed});
}

Inputs batch(const std::vector<std::int64_t>& lengths) { return test::inputs_of(lengths, kItems); }

TEST_F(Gru4RecTest, CountsParameters) {
  const auto count = make()->parameter_count();
  EXPECT_EQ(count.table, kItems * 16);
  EXPECT_EQ(count.encoder, (72 * 16 + 72 * 24 + 2 * 72) + (72 * 24 + 72 * 24 + 2 * 72) + (24 * 16 + 16));
  auto square = small();
  square.hidden = 0;  // as dim
  EXPECT_FALSE(make(square)->named_parameters().contains("out.weight"));
  EXPECT_EQ(make(square)->spec().at("hidden"), "16");
}

TEST_F(Gru4RecTest, InitialValuesAreFunctionsOfSeedAndName) {
  torch::manual_seed(123);
  const torch::Tensor before = torch::rand({1});
  torch::manual_seed(123);
  const auto a = make()->named_parameters(), b = make()->named_parameters(), c = make(small(), 2)->named_parameters();
  EXPECT_TRUE(torch::equal(torch::rand({1}), before)) << "nothing was drawn from the global generator";
  std::set<std::string> hashes;
  for (const auto& parameter : a) {
    EXPECT_TRUE(torch::equal(parameter.value(), b[parameter.key()])) << parameter.key();
    EXPECT_FALSE(torch::equal(parameter.value(), c[parameter.key()])) << parameter.key();
    EXPECT_TRUE(hashes.insert(hash_tensors({{"", parameter.value()}})).second) << parameter.key();
  }
  const double bound = 1 / std::sqrt(24.0);
  EXPECT_LE(a["layers.1.weight_hh"].abs().max().item<double>(), bound);
  EXPECT_NEAR(a["layers.1.weight_hh"].std().item<double>(), bound / std::sqrt(3.0), 0.1 * bound);
}

TEST_F(Gru4RecTest, TapsAreThoseAskedFor) {
  const auto model = make();
  model->eval();
  EXPECT_EQ(model->tap_names(), (std::vector<std::string>{"embedding", "layer.0", "layer.1", "hidden"}));
  EXPECT_THROW((void)model->forward(batch({3}), {"layer.2"}), base::ConfigError);
  Inputs inputs = batch({4, 9, 1});
  inputs.score_tokens = torch::tensor({3L, 12L});
  const Output output = model->forward(inputs, {"embedding", "layer.1", "hidden"});
  EXPECT_EQ(output.taps.size(), 3u);
  EXPECT_TRUE(torch::equal(output.taps.at("embedding"), model->table().lookup(inputs.items())));
  EXPECT_EQ(output.taps.at("layer.1").sizes(), (std::vector<std::int64_t>{14, 24}));
  EXPECT_LT(difference(output.scores.hidden, output.taps.at("hidden").index_select(0, inputs.score_tokens)), 1e-6);
  EXPECT_TRUE(model->forward(inputs, {}).taps.empty());
}

TEST_F(Gru4RecTest, IsCausal) {
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

TEST_F(Gru4RecTest, DropoutIsActiveInTrainingOnlyAndKeyed) {
  const auto model = make();
  const Inputs inputs = batch({4, 9});
  const torch::Tensor first = model->forward(inputs, {}).scores.hidden;
  EXPECT_TRUE(torch::equal(first, model->forward(inputs, {}).scores.hidden));
  Inputs others = inputs;
  others.token_keys = (inputs.token_keys + 1).remainder(std::int64_t{1} << 32);
  EXPECT_GT(difference(first, model->forward(others, {}).scores.hidden), 1e-3);
  model->eval();
  EXPECT_TRUE(torch::equal(model->forward(inputs, {}).scores.hidden, model->forward(others, {}).scores.hidden));
}

/// With dropout on: neither the states nor the masks are the neighbours'.
TEST_F(Gru4RecTest, ASampleHasItsResultInAnyBatch) {
  const auto model = make();
  const Inputs inputs = batch({4, 9, 1, 20, 0, 9, 7});
  const torch::Tensor together = model->forward(inputs, {}).scores.hidden;
  for (std::size_t s = 0; s < 7; ++s) {
    const Inputs one = test::alone(inputs, s);
    EXPECT_LT(difference(model->forward(one, {}).scores.hidden, together.narrow(0, inputs.offsets[s], one.tokens())),
              1e-6)
        << s;
  }
}

TEST_F(Gru4RecTest, EmptyBatchHasZeroGradients) {
  const auto model = make();
  for (const std::vector<std::int64_t>& lengths : {std::vector<std::int64_t>{}, {0}, {0, 0}}) {
    const Output output = model->forward(batch(lengths), {"hidden"});
    EXPECT_EQ(output.scores.hidden.sizes(), (std::vector<std::int64_t>{0, 16}));
    output.scores.hidden.sum().backward();
    for (const auto& parameter : model->named_parameters()) {
      if (!parameter.value().grad().defined()) continue;
      EXPECT_EQ(parameter.value().grad().abs().sum().item<double>(), 0) << parameter.key();
    }
  }
}

}  // namespace
}  // namespace decant::models
