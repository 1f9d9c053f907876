// A step that is not finite: seen in the step's own gradient, traced to its rows, stopped at or skipped with a count.
#include "trainer/non_finite.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>

#include "base/files.h"
#include "tests/trainer/support.h"
#include "trainer/errors.h"

namespace decant::trainer {
namespace {

using testing_support::Alone;
using testing_support::contains;
using testing_support::TempFolder;

constexpr std::int64_t kBadLoss = 666, kBadGradient = 667;  // rows that make them

/// Two losses of one parameter: a sum over rows, and a constant.
class FakeTask final : public Task {
 public:
  FakeTask() : losses_{{"ce", 1, nullptr}, {"kl", 2, nullptr}} {}
  models::NamedTensors parameters() override { return {{"w", w_}}; }
  models::NamedTensors weights() override { return parameters(); }
  void train(bool) override {}
  void begin_step(std::int64_t) override {}
  void set_scales(const std::vector<double>&) override {}
  void augment(data::LabelledBatch&, std::uint64_t) override {}
  std::vector<Counted> take_counts() override { return {}; }
  double loss_weight(std::size_t, const data::LabelledBatch&) override { return 1; }
  std::vector<torch::Tensor> loss_sums(const data::LabelledBatch& batch, std::uint64_t) override {
    torch::Tensor sum = w_.sum();
    for (const auto row : batch.batch.sample_ids) {
      if (row == kBadLoss) sum = sum / 0;
      if (row == kBadGradient) sum = sum + torch::sqrt(w_ * 0).sum();  // 0, but its slope is infinite
    }
    return {sum, (w_ * w_).sum()};
  }
  void join(std::uint64_t) override {}
  void end_step() override {}
  models::NamedTensors state() override { return {}; }
  void restore(const models::NamedTensors&) override {}
  const std::vector<NamedLoss>& losses() const override { return losses_; }
  MetricMap validate() override { return {}; }

 private:
  torch::Tensor w_ = torch::ones({3}).requires_grad_();
  std::vector<NamedLoss> losses_;
};

class NonFinite : public testing::Test {
 protected:
  /// A step over micro-batches of these rows; what the guard decides.
  bool step(const std::vector<std::vector<std::int64_t>>& rows) {
    NonFiniteGuard guard(options_, folder_.path() / "teacher", "teacher", task_, alone_.context);
    const torch::Tensor w = task_.parameters().front().second;
    w.mutable_grad() = torch::zeros({3});
    batches_.assign(rows.size(), {});
    guard.begin_step();
    for (std::size_t m = 0; m < rows.size(); ++m) {
      batches_[m].batch.sample_ids = rows[m];
      const auto parts = task_.loss_sums(batches_[m], 1);
      const torch::Tensor total = parts[0] + 2 * parts[1];
      const torch::Tensor seed = guard.seed(batches_[m], parts, total);
      if (std::isfinite(total.item<double>())) EXPECT_EQ(seed.item<double>(), 1.0);
      total.backward(seed);
    }
    const bool accepted = guard.accepts(gradient_norm({w.grad()}), 1, {1, 1}, state_);
    ++state_.step;
    return accepted;
  }
  std::string refused(const std::vector<std::vector<std::int64_t>>& rows) {
    try {
      step(rows);
    } catch (const NumericError& error) {
      EXPECT_EQ(error.code(), base::ExitCode::kNumerics);
      return error.what();
    }
    return "";
  }
  [[nodiscard]] base::Json saved(std::int64_t step) const {
    return base::Json::parse(
        base::read_file(folder_.path() / "teacher" / "non_finite" / ("step-" + std::to_string(step) + ".json")));
  }

  TempFolder folder_;
  Alone alone_{folder_.path()};
  FakeTask task_;
  TrainOptions options_;
  TrainState state_;
  std::vector<data::LabelledBatch> batches_;
};

TEST_F(NonFinite, LetsGoodStepsPass) {
  state_.skipped_in_row = 3;
  EXPECT_TRUE(step({{1, 2}, {3}}));
  EXPECT_EQ(state_.skipped_in_row, 0);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "teacher"));
}

TEST_F(NonFinite, NamesTheLossAndItsRows) {
  state_.step = 22;
  const auto message = refused({{1, 2}, {5, kBadLoss, 6, 7, 8, 9, 10}});
  EXPECT_TRUE(contains(message,
                       "step 22: the loss 'ce' of stage 'teacher' is not finite (inf) on rank 0, rows 5, 666, "
                       "6, 7, 8 and 2 others ("))
      << message;
  EXPECT_TRUE(contains(message, "non_finite/step-22.json); lower the learning rate")) << message;
  const auto file = saved(22);
  EXPECT_EQ(file.at("ranks").at(0).at("rows"), (base::Json{5, kBadLoss, 6, 7, 8, 9, 10}));
  EXPECT_EQ(file.at("ranks").at(0).at("quantity"), "loss 'ce'");
  EXPECT_EQ(file.at("norm"), "nan") << "the seed of backward has made it so, on every rank";
}

TEST_F(NonFinite, FindsTheRowsOfAGradientWhoseLossIsFinite) {
  const auto message = refused({{1}, {2, kBadGradient}, {3}});
  EXPECT_TRUE(
      contains(message, "step 0: the gradient of stage 'teacher' is not finite (norm nan) on rank 0, rows 2, 667"))
      << message;
  EXPECT_EQ(saved(0).at("ranks").at(0).at("rows"), (base::Json{2, kBadGradient}));
}

TEST_F(NonFinite, SkipsWithACountAndABound) {
  options_.non_finite = "skip";
  options_.non_finite_limit = 2;
  EXPECT_FALSE(step({{kBadLoss}}));
  EXPECT_TRUE(step({{1}}));
  EXPECT_FALSE(step({{kBadGradient}}));
  EXPECT_FALSE(step({{kBadLoss}}));
  EXPECT_EQ(state_.skipped, 3);
  EXPECT_EQ(state_.skipped_in_row, 2);
  EXPECT_TRUE(
      contains(alone_.metrics.text(), "decant_non_finite_steps_total{rank=\"0\",run=\"test\",stage=\"start\"} 3"))
      << alone_.metrics.text();
  const auto message = refused({{kBadLoss}});
  EXPECT_TRUE(contains(message, "; 2 steps before it were skipped in a row (train.non_finite_limit)")) << message;
  EXPECT_TRUE(contains(base::read_file(folder_.path() / "log" / "rank-0.log"), "step 3 is skipped: the loss 'ce'"));
}

TEST_F(NonFinite, CountsOutliveACheckpoint) {
  state_.skipped = 5;
  state_.skipped_in_row = 2;
  const auto back = TrainState::from_json(state_.to_json());
  EXPECT_EQ(back.skipped, 5);
  EXPECT_EQ(back.skipped_in_row, 2);
  EXPECT_FALSE(TrainState().to_json().contains("skipped")) << "as files were before there was the option";
}

TEST(Gradient, IsClippedToItsBound) {
  std::vector<torch::Tensor> flats{torch::full({4}, 3.0), torch::full({9}, 0.0)};
  const double norm = gradient_norm(flats);
  EXPECT_DOUBLE_EQ(norm, 6);
  clip_gradient(flats, norm, 0);
  clip_gradient(flats, norm, 7);
  EXPECT_DOUBLE_EQ(gradient_norm(flats), 6);
  clip_gradient(flats, norm, 2);
  EXPECT_NEAR(gradient_norm(flats), 2, 1e-6);
}

}  // namespace
}  // namespace decant::trainer
