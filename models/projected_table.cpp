#include "models/projected_table.h"

#include <ATen/Parallel.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>

#include "models/initial.h"

namespace decant::models {

namespace {

constexpr std::int64_t kRows = 1024;  // of a product: fixed, since a product's bits may depend on its row count

}  // namespace

ProjectedTable::ProjectedTable(std::int64_t items, std::int64_t width, std::int64_t dim, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  weight = register_parameter("weight", LocalTable(items, width, seed).weight.detach().clone());
  projection = register_parameter(
      "projection", initial_uniform({dim, width}, 1 / std::sqrt(static_cast<double>(width)), seed, "item projection"));
}

torch::Tensor ProjectedTable::lookup(const torch::Tensor& ids) {
  if (!at::GradMode::is_enabled()) return at::embedding(rows(), ids);
  return at::embedding(weight, ids).mm(projection.t());
}

torch::Tensor ProjectedTable::rows() {
  if (at::GradMode::is_enabled()) return weight.mm(projection.t());
  const std::lock_guard lock(mutex_);
  const auto weight_version = static_cast<std::int64_t>(weight._version());
  const auto projection_version = static_cast<std::int64_t>(projection._version());
  const bool fresh = composed_.defined() && composed_.device() == weight.device() &&
                     weight_version == weight_version_ && projection_version == projection_version_;
  if (!fresh) {
    composed_ = compose();
    weight_version_ = weight_version;
    projection_version_ = projection_version;
  }
  return composed_;
}

void ProjectedTable::train(bool on) {
  {
    // Not every optimiser's kernel counts up the version of what it writes.
    const std::lock_guard lock(mutex_);
    composed_ = torch::Tensor();
  }
  DenseTable::train(on);
}

torch::Tensor ProjectedTable::compose() const {
  const auto narrow = projection.detach().t();
  const auto wide = weight.detach();
  if (!wide.is_cpu()) return wide.mm(narrow);
  auto out = at::empty({items(), dim()}, wide.options());
  const std::int64_t blocks = (items() + kRows - 1) / kRows;
  // Two threads at least, even for one block: LibTorch is serial inside a region only when the region is parallel.
#pragma omp parallel for num_threads(std::max(2, at::get_num_threads())) schedule(dynamic, 1)
  for (std::int64_t block = 0; block < blocks; ++block) {
    const torch::NoGradGuard no_grad;
    const std::int64_t first = block * kRows, count = std::min(kRows, items() - first);
    auto part = out.narrow(0, first, count);
    at::mm_out(part, wide.narrow(0, first, count), narrow);
  }
  return out;
}

}  // namespace decant::models
