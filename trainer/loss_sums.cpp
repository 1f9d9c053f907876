#include "trainer/loss_sums.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace decant::trainer {

void LossSums::reset() {
  state_.loss_sums.assign(task_.losses().size(), 0);
  state_.loss_weights.assign(task_.losses().size(), 0);
  state_.counts = base::Json::object();
}

void LossSums::keep(std::vector<torch::Tensor> sums, std::vector<double> weights, std::vector<double> factors) {
  sums_ = std::move(sums);
  weights_ = std::move(weights);
  factors_ = std::move(factors);
}

void LossSums::append(std::vector<double>& out) {
  for (std::size_t l = 0; l < task_.losses().size(); ++l)
    out.push_back(l < sums_.size() && sums_[l].defined() ? sums_[l].item<double>() : 0.0);
  counted_ = task_.take_counts();
  for (const auto& counted : counted_) out.push_back(static_cast<double>(counted.count));
}

void LossSums::add(const double* sums) {
  if (!pending()) return;
  double total = 0;
  for (std::size_t l = 0; l < weights_.size(); ++l) {
    state_.loss_sums[l] += sums[l];
    state_.loss_weights[l] += weights_[l];
    const double mean = sums[l] / std::max(weights_[l], 1.0);
    metrics_.set_part("decant_loss", task_.losses()[l].name, mean);
    total += factors_[l] * mean;
  }
  for (std::size_t c = 0; c < counted_.size(); ++c) {
    const auto count = static_cast<std::int64_t>(sums[weights_.size() + c]);
    state_.counts[counted_[c].name] = state_.counts.value(counted_[c].name, std::int64_t{0}) + count;
    metrics_.set_part("decant_step_labels", counted_[c].name, static_cast<double>(count));
  }
  metrics_.set_part("decant_loss", "total", total);
  shown_ = total;
  weights_.clear();
  sums_.clear();
}

}  // namespace decant::trainer
