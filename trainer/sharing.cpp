#include "trainer/sharing.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include <numeric>

namespace decant::trainer {

Sharing::Sharing(const LabelLossOptions& options) : sets_(options.labels), fixed_(options.shares) {
  if (fixed_.empty()) fixed_.assign(sets_.size(), 1.0);
  if (fixed_.size() != sets_.size())
    throw base::ConfigError("'shares' has " + std::to_string(fixed_.size()) + " values for " +
                            std::to_string(sets_.size()) + " label sets (" + base::join(sets_) + ")");
  if (std::accumulate(fixed_.begin(), fixed_.end(), 0.0) <= 0) throw base::ConfigError("'shares' are all 0");
}

torch::Tensor Sharing::shares(const LabelSets& labels, std::int64_t targets, torch::Device device) const {
  std::vector<torch::Tensor> columns;
  for (std::size_t s = 0; s < sets_.size(); ++s) {
    const auto& present = labels.at(sets_[s]).present;
    const auto column = at::ones({targets}, torch::TensorOptions(device)) * fixed_[s];
    columns.push_back(present.defined() ? column * present : column);
  }
  const auto all = at::stack(columns, 1);
  return all / all.sum(1, true).clamp_min(1e-30);
}

}  // namespace decant::trainer
