#include "models/table.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "base/hash.h"
#include "base/random.h"
#include "models/ops/walk.h"

namespace decant::models {

LocalTable::LocalTable(std::int64_t items, std::int64_t dim, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  base::Hasher name;
  name.add(std::string_view("item table"));
  auto generator = at::detail::createCPUGenerator(base::key_of(seed, name.value()));
  weight = register_parameter("weight", at::empty({items, dim}).normal_(0.0, 0.02, generator));
}

std::int64_t LocalTable::items() const { return weight.size(0); }
std::int64_t LocalTable::dim() const { return weight.size(1); }
torch::Tensor LocalTable::lookup(const torch::Tensor& ids) { return at::embedding(weight, ids); }

torch::Tensor Table::logits_of(const torch::Tensor& hidden, const torch::Tensor& ids) {
  return hidden.mm(lookup(ids).t());
}

Moments Spread::of(const torch::Tensor& hidden) const {
  return {hidden.mv(mean), (hidden.mm(covariance) * hidden).sum(1).clamp_min(0)};
}

Spread DenseTable::spread() {
  const auto weight = rows();
  const auto mean = weight.mean(0);
  const auto centred = weight - mean;
  return {mean, centred.t().mm(centred) / weight.size(0)};
}

WalkResult DenseTable::walk(const torch::Tensor& hidden, const WalkRequest& request) {
  return walk_catalogue(hidden, rows(), request);
}

TopKResult DenseTable::topk(const torch::Tensor& hidden, const TopKRequest& request) {
  return topk_catalogue(hidden, rows(), request);
}

RankResult DenseTable::rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                               const std::vector<std::int64_t>& seen_offsets,
                               const std::vector<std::int64_t>& seen_ids) {
  const auto weight = this->rows();
  if (seen_offsets.empty()) return rank_in_catalogue(hidden, weight, targets, {});
  const auto rows = static_cast<std::int64_t>(seen_offsets.size()) - 1;
  std::int64_t widest = 0;
  for (std::int64_t r = 0; r < rows; ++r)
    widest =
        std::max(widest, seen_offsets[static_cast<std::size_t>(r + 1)] - seen_offsets[static_cast<std::size_t>(r)]);
  auto seen = at::full({rows, widest}, -1, torch::kInt64);
  for (std::int64_t r = 0; r < rows; ++r)
    std::copy(seen_ids.begin() + seen_offsets[static_cast<std::size_t>(r)],
              seen_ids.begin() + seen_offsets[static_cast<std::size_t>(r + 1)],
              seen.data_ptr<std::int64_t>() + r * widest);
  return rank_in_catalogue(hidden, weight, targets, seen.to(hidden.device()));
}

}  // namespace decant::models
