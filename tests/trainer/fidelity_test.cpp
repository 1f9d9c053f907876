// Fidelity and calibration against plain loops over all items.
#include "trainer/fidelity.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/sasrec.h"
#include "tests/trainer/support.h"
#include "trainer/next_item.h"

namespace decant::trainer {
namespace {

using testing_support::Alone;
using testing_support::TempFolder;

TEST(RankBiasedOverlap, EndsAndHandNumbers) {
  for (const double p : {0.5, 0.9, 0.98}) {
    EXPECT_NEAR(rank_biased_overlap({1, 2, 3, 4, 5}, p), 1, 1e-12);
    EXPECT_EQ(rank_biased_overlap({0, 0, 0}, p), 0);
  }
  // Lists a b c and b a d at p = 0.5: agreements 0, 1, 2/3.
  const double sum = 0.0 * 0.5 + 1.0 * 0.25 + 2.0 / 3 * 0.125;
  EXPECT_NEAR(rank_biased_overlap({0, 2, 2}, 0.5), 2.0 / 3 * 0.125 + sum, 1e-12);
  EXPECT_GT(rank_biased_overlap({1, 1, 1}, 0.5), rank_biased_overlap({0, 0, 1}, 0.5)) << "the head weighs most";
}

class Models : public testing::Test {
 protected:
  Models() : alone_(folder_.path()) {
    data::testing_support::write_rows(folder_ / "data", data::testing_support::ragged_rows(400));
    dataset_ = std::make_unique<data::Dataset>(folder_ / "data");
    teacher_ = make(8, 1);
    side_ = make(4, 2);
  }
  std::shared_ptr<models::SasRec> make(std::int64_t dim, std::uint64_t seed) {
    models::SasRecOptions options;
    options.dim = dim, options.max_length = 10;
    auto model = std::make_shared<models::SasRec>(options, models::ModelContext{dataset_->info().items, seed});
    const torch::NoGradGuard no_grad;
    model->named_parameters()["item.weight"].mul_(60);  // scores as far apart as a trained model's
    return model;
  }
  /// [targets, items] float64 of valid, and the targets.
  std::pair<torch::Tensor, std::vector<std::int64_t>> logits(models::SasRec& model) {
    const torch::NoGradGuard no_grad;
    model.eval();
    const auto batch = dataset_->evaluation_batch(data::Split::kValid, 0, dataset_->info().rows, 10);
    const auto hidden = model.forward(make_inputs(batch, torch::kCPU, 0), {}).scores.hidden;
    return {at::matmul(hidden, model.named_parameters()["item.weight"].t()).to(torch::kFloat64), batch.target_ids};
  }
  static std::vector<std::int64_t> best(const torch::Tensor& row) {
    std::vector<std::int64_t> ids(static_cast<std::size_t>(row.size(0)));
    std::iota(ids.begin(), ids.end(), 0);
    const auto* score = row.data_ptr<double>();
    std::stable_sort(ids.begin(), ids.end(), [&](auto a, auto b) { return score[a] > score[b]; });
    return ids;
  }

  TempFolder folder_;
  Alone alone_;
  std::unique_ptr<data::Dataset> dataset_;
  std::shared_ptr<models::SasRec> teacher_, side_;
};

TEST_F(Models, FidelityEqualsBruteForce) {
  const auto found = measure_fidelity(*teacher_, *side_, *dataset_, 0.9, alone_.context);
  const auto t = logits(*teacher_).first.contiguous(), s = logits(*side_).first.contiguous();
  const auto items = t.size(1);
  ASSERT_LT(items, kListDepth);  // every list is the whole catalogue
  const auto log_q = at::log_softmax(t, 1), log_p = at::log_softmax(s, 1);
  EXPECT_NEAR(found.kl, (log_q.exp() * (log_q - log_p)).sum(1).mean().item<double>(), 1e-4);
  double rbo = 0;
  std::map<std::int64_t, double> overlap, tau;
  for (std::int64_t row = 0; row < t.size(0); ++row) {
    const auto a = best(t[row]), b = best(s[row]);
    std::vector<std::int64_t> shared;
    for (std::int64_t d = 1; d <= items; ++d)
      shared.push_back(std::count_if(
          a.begin(), a.begin() + d, [&](auto id) { return std::find(b.begin(), b.begin() + d, id) != b.begin() + d; }));
    rbo += rank_biased_overlap(shared, 0.9);
    for (const std::int64_t k : {1, 5, 10, 20})
      overlap[k] += static_cast<double>(shared[static_cast<std::size_t>(k - 1)]) / static_cast<double>(k);
    for (const std::int64_t k : {10, 20}) {
      double sum = 0;
      for (std::int64_t i = 0; i < k; ++i)
        for (std::int64_t j = i + 1; j < k; ++j) {
          const auto score = [&](std::int64_t at) { return s[row][a[static_cast<std::size_t>(at)]].item<double>(); };
          sum += score(i) > score(j) ? 1 : score(i) < score(j) ? -1 : 0;
        }
      tau[k] += sum / static_cast<double>(k * (k - 1) / 2);
    }
  }
  const auto rows = static_cast<double>(t.size(0));
  EXPECT_NEAR(found.rbo, rbo / rows, 1e-6);
  for (const auto& [k, sum] : overlap) EXPECT_NEAR(found.overlap.at(k), sum / rows, 1e-9) << k;
  for (const auto& [k, sum] : tau) EXPECT_NEAR(found.tau.at(k), sum / rows, 1e-9) << k;
}

TEST_F(Models, OneModelRepeatsItself) {
  std::vector<TargetFidelity> kept;
  const auto found = measure_fidelity(*teacher_, *teacher_, *dataset_, 0.9, alone_.context, &kept);
  EXPECT_NEAR(found.kl, 0, 1e-6);
  EXPECT_NEAR(found.rbo, 1, 1e-6);
  for (const auto& [k, value] : found.overlap) EXPECT_DOUBLE_EQ(value, 1) << k;
  for (const auto& [k, value] : found.tau) EXPECT_GT(value, 0.999) << k;
  EXPECT_TRUE(std::is_sorted(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.row < b.row; }));
  for (const auto& target : kept) EXPECT_EQ(target.shared_at_10, 10);
}

TEST_F(Models, CalibrationEqualsBruteForce) {
  constexpr std::int64_t kBins = 7;
  const auto found = measure_calibration(*teacher_, *dataset_, kBins, alone_.context);
  const auto [scores, targets] = logits(*teacher_);
  const auto p = at::softmax(scores, 1).contiguous();
  double nll = 0, target_found = 0;
  std::vector<double> count(kBins), expected(kBins), hits(kBins);
  for (std::int64_t row = 0; row < p.size(0); ++row) {
    const double of_target = p[row][targets[static_cast<std::size_t>(row)]].item<double>();
    nll -= std::log(of_target);
    target_found += of_target;
    const auto top = p[row].argmax().item<std::int64_t>();
    const double first = p[row][top].item<double>();
    const auto bin = static_cast<std::size_t>(std::min<double>(kBins - 1, std::floor(first * kBins)));
    ++count[bin];
    expected[bin] += first;
    hits[bin] += top == targets[static_cast<std::size_t>(row)] ? 1 : 0;
  }
  const auto rows = static_cast<double>(p.size(0));
  EXPECT_NEAR(found.nll, nll / rows, 1e-4);
  double error = 0, target_mean = 0, squares = 0;
  for (std::size_t b = 0; b < kBins; ++b) {
    EXPECT_EQ(static_cast<double>(found.top1_bins[b].targets), count[b]);
    if (count[b] > 0) {
      EXPECT_NEAR(found.top1_bins[b].expected, expected[b] / count[b], 1e-5);
    }
    error += std::abs(expected[b] - hits[b]) / rows;
    target_mean += found.target_bins[b].found * static_cast<double>(found.target_bins[b].targets) / rows;
    squares += found.target_bins[b].expected * static_cast<double>(found.target_bins[b].targets) / rows;
  }
  EXPECT_NEAR(found.top1_error, error, 1e-5);
  EXPECT_NEAR(target_mean, target_found / rows, 1e-5);
  EXPECT_NEAR(squares, p.pow(2).sum(1).mean().item<double>(), 1e-5);
  EXPECT_GE(found.target_error + 1e-9, std::abs(squares - target_mean));
}

}  // namespace
}  // namespace decant::trainer
