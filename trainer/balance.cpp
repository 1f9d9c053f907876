#include "trainer/balance.h"

#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <torch/autograd.h>

#include <algorithm>
#include <cmath>

namespace decant::trainer {

Balance::Balance(const BalanceOptions& options, const std::vector<std::string>& names)
    : options_(options), names_(names), scales_(names.size(), 1.0), known_(names.size(), false) {
  const auto at = std::find(names.begin(), names.end(), options_.reference);
  reference_ = static_cast<std::size_t>(at - names.begin());
  on_ = options_.on() && at != names.end() && names.size() > 1;
}

void Balance::take(const std::vector<double>& norms) {
  constexpr double kLeast = 1e-12, kMost = 1e6;
  // What is not finite is left to the step, which ends the run.
  const auto usable = [](double norm) { return std::isfinite(norm) && norm >= kLeast; };
  if (!usable(norms[reference_])) return;
  for (std::size_t l = 0; l < norms.size(); ++l) {
    if (l == reference_ || !usable(norms[l])) continue;
    const double now = std::clamp(norms[reference_] / norms[l], 1 / kMost, kMost);
    scales_[l] = known_[l] ? std::pow(scales_[l], options_.smoothing) * std::pow(now, 1 - options_.smoothing) : now;
    known_[l] = true;
  }
}

base::Json Balance::by_name() const {
  base::Json out;
  for (std::size_t l = 0; l < names_.size(); ++l) out[names_[l]] = scales_[l];
  return out;
}

std::vector<double> Balance::state() const {
  std::vector<double> out;
  if (!on_) return out;
  for (std::size_t l = 0; l < scales_.size(); ++l) out.push_back(known_[l] ? scales_[l] : 0);
  return out;
}

void Balance::restore(const std::vector<double>& state) {
  for (std::size_t l = 0; l < std::min(state.size(), scales_.size()); ++l)
    if (state[l] > 0) scales_[l] = state[l], known_[l] = true;
}

namespace {

/// Of the gradient `rows` of the rows of a table that this rank holds, as its share of the sum over ranks.
double squares_of_rows(const std::vector<ShardedParameter>& sharded, const torch::Tensor& rows) {
  if (sharded.empty()) return 0;
  auto& exchange = sharded.front().table->exchange();
  exchange.sum_copies(rows);
  return std::pow(at::linalg_vector_norm(rows).item<double>(), 2) / exchange.copies();
}

}  // namespace

std::vector<double> gradient_norms(Task& task, const std::vector<data::LabelledBatch>& batches,
                                   const std::vector<double>& divisors, std::uint64_t step_key,
                                   dist::Communicator& communicator) {
  std::vector<torch::Tensor> parameters;
  std::int64_t size = 0, own = 0;  // values of what every rank has, and of this rank's rows behind them
  for (const auto& [name, tensor] : replicated(task.parameters(), task.sharded()))
    if (tensor.requires_grad() && !name.starts_with("loss.")) parameters.push_back(tensor), size += tensor.numel();
  for (const auto& sharded : task.sharded())
    if (sharded.own.requires_grad()) parameters.push_back(sharded.own), own += sharded.own.numel();
  const auto floats = torch::TensorOptions(communicator.device()).dtype(torch::kFloat32);
  std::vector<torch::Tensor> gradients;
  for (std::size_t l = 0; l < divisors.size(); ++l) gradients.push_back(at::zeros({size + own}, floats));
  if (batches.empty()) task.join(step_key);
  for (const auto& batch : batches) {
    const auto sums = task.loss_sums(batch, step_key);
    for (std::size_t l = 0; l < sums.size(); ++l) {
      if (!sums[l].requires_grad() || parameters.empty()) continue;
      const auto found = torch::autograd::grad({sums[l] / divisors[l]}, parameters, {}, /*retain_graph=*/true,
                                               /*create_graph=*/false, /*allow_unused=*/true);
      std::int64_t at = 0;
      for (std::size_t p = 0; p < parameters.size(); at += parameters[p++].numel())
        if (found[p].defined()) gradients[l].narrow(0, at, parameters[p].numel()).add_(found[p].reshape({-1}));
    }
  }
  std::vector<double> norms, squares;  // squares: of the rows, which are complete on their ranks
  for (auto& gradient : gradients) {
    const auto shared = gradient.narrow(0, 0, size);
    communicator.all_reduce(shared, dist::Reduce::kSum)->wait();
    norms.push_back(at::linalg_vector_norm(shared).item<double>());
    squares.push_back(squares_of_rows(task.sharded(), gradient.narrow(0, size, own)));
  }
  if (task.sharded().empty()) return norms;
  communicator.all_reduce_host(squares, dist::Reduce::kSum);
  for (std::size_t l = 0; l < norms.size(); ++l) norms[l] = std::hypot(norms[l], std::sqrt(squares[l]));
  return norms;
}

}  // namespace decant::trainer
