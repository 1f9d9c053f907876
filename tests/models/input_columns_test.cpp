#include "models/input_columns.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "models/gru4rec.h"
#include "models/int8_model.h"
#include "models/sasrec.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

using InputColumnsTest = test::OneThread;

constexpr std::int64_t kItems = 12, kDim = 4;

/// A category of items with up to two values, a number of items, a category of users and a number of events.
InputColumnMap columns_of_test() {
  auto kinds = torch::zeros({kItems, 2}, torch::kInt64);
  auto prices = torch::empty({kItems}, torch::kFloat32);
  for (std::int64_t item = 0; item < kItems; ++item) {
    kinds[item][0] = item % 4;  // item 0 has none
    kinds[item][1] = item % 3 == 0 && item % 4 != 0 ? 4 : 0;
    prices[item] = 0.25 * static_cast<double>(item - 5);
  }
  InputColumnMap out;
  out["item.kind"] = {false, 5, 2, kinds};
  out["item.price"] = {true, 0, 1, prices};
  out["user.town"] = {false, 3, 1, {}};
  out["event.amount"] = {true, 0, 1, {}};
  return out;
}

const std::vector<std::string> kAll{"user.town", "item.kind", "event.amount", "item.price"};

Inputs inputs_of(const std::vector<std::int64_t>& lengths) {
  auto inputs = test::inputs_of(lengths, kItems);
  std::vector<std::int64_t> towns;
  for (std::size_t row = 0; row < lengths.size(); ++row)
    towns.insert(towns.end(), static_cast<std::size_t>(lengths[row]), static_cast<std::int64_t>(row % 3));
  inputs.columns["user.town"] = torch::tensor(towns, torch::kInt64);
  inputs.columns["event.amount"] = torch::linspace(-1, 1, inputs.tokens());
  return inputs;
}

template <class Model, class Options>
std::shared_ptr<Model> make(const std::vector<std::string>& columns, const InputColumnMap& known) {
  Options options;
  options.dim = kDim;
  options.max_length = 6;
  options.columns = columns;
  ModelContext context{.items = kItems, .seed = 3};
  context.columns = &known;
  auto model = std::make_shared<Model>(options, context);
  model->eval();
  return model;
}

TEST_F(InputColumnsTest, AddTheirVectorsToTheItems) {
  const auto known = columns_of_test();
  const auto model = make<SasRec, SasRecOptions>(kAll, known);
  const auto inputs = inputs_of({3, 1, 6, 2});
  const torch::NoGradGuard no_grad;
  auto parameters = model->named_parameters();
  const auto at = [&](const char* name) { return parameters["columns." + std::string(name)]; };
  const auto found = model->forward(inputs, {"embedding"}).taps.at("embedding");
  for (std::int64_t token = 0; token < inputs.tokens(); ++token) {
    const auto item = inputs.items()[token].item<std::int64_t>();
    auto wanted =
        parameters["item.weight"][item] + parameters["position.weight"][inputs.positions[token].item<std::int64_t>()];
    for (int i = 0; i < 2; ++i) {
      const auto code = known.at("item.kind").of_items[item][i].item<std::int64_t>();
      if (code != 0) wanted = wanted + at("item.kind")[code];
    }
    wanted = wanted + known.at("item.price").of_items[item] * at("item.price");
    if (const auto town = inputs.columns.at("user.town")[token].item<std::int64_t>(); town != 0)
      wanted = wanted + at("user.town")[town];
    wanted = wanted + inputs.columns.at("event.amount")[token] * at("event.amount");
    EXPECT_TRUE(torch::allclose(found[token], wanted, 1e-5, 1e-6)) << "token " << token;
  }
}

TEST_F(InputColumnsTest, WhatIsNotThereAddsNothingAndLearnsNothing) {
  const auto known = columns_of_test();
  const auto model = make<SasRec, SasRecOptions>({"item.kind", "user.town"}, known);
  auto inputs = inputs_of({6, 6, 6, 6, 6});
  model->forward(inputs, {}).scores.hidden.sum().backward();
  auto parameters = model->named_parameters();
  for (const char* name : {"columns.item.kind", "columns.user.town"}) {
    EXPECT_EQ(parameters[name][0].abs().sum().item<float>(), 0) << name;
    EXPECT_EQ(parameters[name].grad()[0].abs().sum().item<float>(), 0) << name;
    EXPECT_GT(parameters[name].grad().abs().sum().item<float>(), 0) << name;
  }
  // A column that the inputs have not is one without values.
  const torch::NoGradGuard no_grad;
  inputs.columns["user.town"].zero_();
  const auto nobody = model->forward(inputs, {}).scores.hidden.clone();
  inputs.columns.erase("user.town");
  EXPECT_TRUE(torch::equal(model->forward(inputs, {}).scores.hidden, nobody));
}

template <class Model, class Options>
void check_serving() {
  const auto known = columns_of_test();
  const auto model = make<Model, Options>(kAll, known);
  const auto inputs = inputs_of({3, 1, 6, 2});
  const torch::NoGradGuard no_grad;
  const auto before = model->forward(inputs, {}).scores.hidden.clone();
  model->prepare_serving();
  EXPECT_TRUE(torch::equal(model->forward(inputs, {}).scores.hidden, before)) << "folding changes bits";
  for (auto& parameter : model->named_parameters())
    if (parameter.key().starts_with(kFoldedPrefix)) parameter.value().fill_(9);
  EXPECT_TRUE(torch::equal(model->forward(inputs, {}).scores.hidden, before)) << "a folded model reads its columns";
}

TEST_F(InputColumnsTest, FoldToTheSameBits) {
  check_serving<SasRec, SasRecOptions>();
  check_serving<Gru4Rec, Gru4RecOptions>();
}

TEST_F(InputColumnsTest, AreRoundedAsTheyAreExported) {
  const auto known = columns_of_test();
  const auto plain = make<SasRec, SasRecOptions>(kAll, known), copy = make<SasRec, SasRecOptions>(kAll, known);
  Int8Model rounded(copy);
  const torch::NoGradGuard no_grad;
  const auto inputs = inputs_of({3, 1, 6, 2});
  const auto away = (rounded.forward(inputs, {}).scores.hidden - plain->forward(inputs, {}).scores.hidden).abs().max();
  EXPECT_GT(away.item<float>(), 0);
  EXPECT_LT(away.item<float>(), 0.1);
}

TEST_F(InputColumnsTest, AreNamedAndThere) {
  const auto known = columns_of_test();
  const auto refusal = [&](const std::vector<std::string>& columns) -> std::string {
    try {
      static_cast<void>(make<SasRec, SasRecOptions>(columns, known));
    } catch (const base::ConfigError& error) {
      return error.what();
    }
    return "none";
  };
  EXPECT_NE(refusal({"item.colour"}).find("no column 'item.colour' (it has: event.amount, item.kind"),
            std::string::npos);
  EXPECT_NE(refusal({"kind"}).find("'kind' is no name of a column"), std::string::npos);
  EXPECT_NE(refusal({"item.a.b"}).find("is no name of a column"), std::string::npos);
  EXPECT_NE(refusal({"item.kind", "item.kind"}).find("twice"), std::string::npos);
  // Where the dataset is not known yet any name will do.
  SasRecOptions options;
  options.columns = {"item.colour"};
  EXPECT_EQ(SasRec(options, ModelContext{.items = 1, .seed = 0}).spec().at("columns"), "item.colour");
}

TEST_F(InputColumnsTest, ChangeNothingOfAModelWithoutThem) {
  const auto known = columns_of_test();
  const auto with = make<SasRec, SasRecOptions>(kAll, known), without = make<SasRec, SasRecOptions>({}, known);
  auto found = with->named_parameters();
  for (const auto& parameter : without->named_parameters())
    EXPECT_TRUE(torch::equal(found[parameter.key()], parameter.value())) << parameter.key();
  EXPECT_EQ(without->spec().count("columns"), 0U);
}

}  // namespace
}  // namespace decant::models
