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

namespace {

constexpr double kDeviation = 0.02;

at::Generator generator_of(std::uint64_t seed) {
  base::Hasher name;
  name.add(std::string_view("item table"));
  return at::detail::createCPUGenerator(base::key_of(seed, name.value()));
}

}  // namespace

LocalTable::LocalTable(std::int64_t items, std::int64_t dim, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  weight = register_parameter("weight", at::empty({items, dim}).normal_(0.0, kDeviation, generator_of(seed)));
}

void draw_item_rows(std::int64_t items, std::int64_t dim, std::uint64_t seed,
                    const std::function<void(std::int64_t first, const torch::Tensor& rows)>& see) {
  // LibTorch draws sixteen values at once, and the last sixteen anew when they are not whole: a run has a multiple of
  // sixteen rows, and the last one has at least as many.
  constexpr std::int64_t kRows = 16 * 1024, kLeast = 16;
  const torch::NoGradGuard no_grad;
  auto generator = generator_of(seed);
  for (std::int64_t first = 0; first < items;) {
    const std::int64_t left = items - first, count = left < kRows + kLeast ? left : kRows;
    see(first, at::empty({count, dim}).normal_(0.0, kDeviation, generator));
    first += count;
  }
}

std::int64_t Table::values() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters()) total += parameter.numel();
  return total;
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
  return rank_in_catalogue(hidden, rows(), targets, padded_rows(seen_offsets, seen_ids, hidden.device()));
}

torch::Tensor padded_rows(const std::vector<std::int64_t>& offsets, const std::vector<std::int64_t>& ids,
                          torch::Device device) {
  if (offsets.empty()) return {};
  const auto rows = offsets.size() - 1;
  std::int64_t widest = 0;
  for (std::size_t r = 0; r < rows; ++r) widest = std::max(widest, offsets[r + 1] - offsets[r]);
  auto padded = at::full({static_cast<std::int64_t>(rows), widest}, -1, torch::kInt64);
  for (std::size_t r = 0; r < rows; ++r)
    std::copy(ids.begin() + offsets[r], ids.begin() + offsets[r + 1],
              padded.data_ptr<std::int64_t>() + static_cast<std::int64_t>(r) * widest);
  return padded.to(device);
}

}  // namespace decant::models
