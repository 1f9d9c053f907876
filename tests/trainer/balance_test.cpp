// Losses brought to gradients of one length: the scales, and the norms they are made of against autograd.
#include "trainer/balance.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "models/sasrec.h"
#include "tests/trainer/support.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

using testing_support::Alone;
using testing_support::TempFolder;

const std::vector<std::string> kNames{"ce", "kl", "mse"};

BalanceOptions options(double smoothing = 0.5) {
  BalanceOptions out;
  out.kind = "gradient_norm", out.every = 10, out.smoothing = smoothing;
  return out;
}

TEST(Balance, ScalesToTheReferenceAndSmooths) {
  Balance balance(options(), kNames);
  EXPECT_TRUE(balance.due(0));
  EXPECT_FALSE(balance.due(9));
  EXPECT_TRUE(balance.due(20));
  EXPECT_EQ(balance.scales(), (std::vector<double>{1, 1, 1}));
  balance.take({2, 8, 0.5});
  EXPECT_EQ(balance.scales(), (std::vector<double>{1, 0.25, 4})) << "the first is taken whole";
  balance.take({2, 2, 2});
  EXPECT_EQ(balance.scales(), (std::vector<double>{1, 0.5, 2})) << "geometric mean of old and new";
}

TEST(Balance, StaysFinite) {
  Balance balance(options(0), kNames);
  balance.take({2, 0, 1e-9});
  EXPECT_EQ(balance.scales(), (std::vector<double>{1, 1, 1e6})) << "no gradient: 1; and there is a bound";
  balance.take({2, 4, NAN});
  EXPECT_EQ(balance.scales(), (std::vector<double>{1, 0.5, 1e6}));
  balance.take({2, 0, INFINITY});
  balance.take({0, 1, 1});
  balance.take({NAN, 1, 1});
  EXPECT_EQ(balance.scales(), (std::vector<double>{1, 0.5, 1e6})) << "nothing to learn from these";
}

TEST(Balance, ContinuesFromItsState) {
  Balance one(options(), kNames), two(options(), kNames);
  one.take({3, 7, 0});
  two.restore(one.state());
  for (auto* balance : {&one, &two}) balance->take({3, 1, 1.1});
  EXPECT_EQ(one.scales(), two.scales());
  EXPECT_EQ(two.scales()[2], 3 / 1.1) << "it had no gradient before, so its first is taken whole";
}

TEST(Balance, IsOffWithoutReferenceOrOtherLosses) {
  EXPECT_FALSE(Balance(BalanceOptions(), kNames).on());
  EXPECT_FALSE(Balance(options(), {"ce"}).on());
  EXPECT_FALSE(Balance(options(), {"kl", "mse"}).on());
  EXPECT_FALSE(Balance(BalanceOptions(), kNames).due(0));
  EXPECT_TRUE(Balance(BalanceOptions(), kNames).state().empty());
}

class BalancedTask : public testing::Test {
 protected:
  BalancedTask() : alone_(folder_.path()) {
    data::testing_support::write_rows(folder_ / "data", data::testing_support::ragged_rows(30));
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
    const auto rows = data::testing_support::all_rows(*dataset_);
    for (const auto& [first, last] : {std::pair<int, int>{0, 13}, {13, 30}}) {
      batches_.emplace_back();
      batches_.back().batch = dataset_->training_batch({rows.begin() + first, rows.begin() + last}, 8);
    }
    RunFacts facts;
    facts.online = std::make_shared<OnlineTeacher>(make_model(12, 8), 7);
    const auto registries = default_registries();
    std::vector<NamedLoss> losses;
    for (const auto& [name, weight] : {std::pair("ce", 1.0), {"kl_tail", 3.0}, {"mse", 200.0}}) {
      base::KindOptions kind{name, registries.losses.options_of(name)};
      base::Json read{{"weight", weight}};
      if (losses.size() > 0) read["labels"] = {"online"};
      base::read_options(read, *kind.options);
      losses.push_back(name_loss(name, *kind.options, registries.losses.make(kind)));
    }
    task_ = std::make_unique<NextItem>(make_model(6, 3), losses, *dataset_, SoftmaxOptions(), alone_.context, facts);
  }

  [[nodiscard]] std::shared_ptr<models::SasRec> make_model(std::int64_t dim, std::uint64_t seed) const {
    models::SasRecOptions options;
    options.dim = dim, options.layers = 1, options.heads = 1, options.max_length = 8, options.dropout = 0.2;
    const auto model =
        std::make_shared<models::SasRec>(options, models::ModelContext{.items = dataset_->info().items, .seed = seed});
    const torch::NoGradGuard no_grad;
    model->named_parameters()["item.weight"].mul_(20);
    return model;
  }

  [[nodiscard]] std::vector<double> norms() {
    return gradient_norms(*task_, batches_, divisors_, 5, *alone_.communicator);
  }

  TempFolder folder_;
  Alone alone_;
  std::unique_ptr<data::Dataset> dataset_;
  std::vector<data::LabelledBatch> batches_;
  std::unique_ptr<NextItem> task_;
  const std::vector<double> divisors_{100, 50, 0.7};
};

/// Each loss alone through backward, over both micro-batches.
TEST_F(BalancedTask, NormsAreThoseOfBackward) {
  const auto got = norms();
  for (const auto& [name, tensor] : task_->parameters())
    EXPECT_FALSE(tensor.grad().defined()) << name << ": a measurement leaves no gradient";
  for (std::size_t l = 0; l < got.size(); ++l) {
    for (const auto& batch : batches_) (task_->loss_sums(batch, 5)[l] / divisors_[l]).backward();
    double square = 0;
    for (const auto& [name, tensor] : task_->parameters()) {
      square += std::pow(tensor.grad().norm().item<double>(), 2);
      tensor.mutable_grad().zero_();
    }
    EXPECT_NEAR(got[l], std::sqrt(square), 1e-4 * got[l]) << l;
  }
}

/// What is trained on: the scaled losses' gradients, before weights, are as long as the reference's.
TEST_F(BalancedTask, ScaledGradientsAreOfOneLength) {
  const auto before = norms();
  EXPECT_GT(before[2] / before[0], 100) << "they are of very different size";
  Balance balance(options(), kNames);
  balance.take(before);
  task_->set_scales(balance.scales());
  for (std::size_t l = 0; l < before.size(); ++l) {
    const auto& named = task_->losses()[l];
    double square = 0;
    for (const auto& batch : batches_) (task_->loss_sums(batch, 5)[l] * (named.multiplier() / divisors_[l])).backward();
    for (const auto& [name, tensor] : task_->parameters()) {
      square += std::pow(tensor.grad().norm().item<double>(), 2);
      tensor.mutable_grad().zero_();
    }
    EXPECT_NEAR(std::sqrt(square) / named.factor, before[0], 1e-4 * before[0]) << named.name;
  }
}

TEST_F(BalancedTask, FrozenParametersAreLeftOut) {
  const auto all = norms();
  task_->parameters()[0].second.set_requires_grad(false);
  const auto some = norms();
  for (std::size_t l = 0; l < all.size(); ++l) EXPECT_LT(some[l], all[l]);
  for (auto& [name, tensor] : task_->parameters()) tensor.set_requires_grad(false);
  EXPECT_EQ(norms(), (std::vector<double>{0, 0, 0}));
}

}  // namespace
}  // namespace decant::trainer
