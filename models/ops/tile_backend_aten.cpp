#include "models/ops/tile_backend_aten.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/isnan.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

namespace decant::models {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct AtenIdPlan : IdPlan {
  explicit AtenIdPlan(torch::Tensor all) : ids(std::move(all)) {}
  torch::Tensor ids;  // [rows, m] int64
};

/// Which ids lie in the tile, and their columns (0 for the others).
struct Hits {
  torch::Tensor in, column;  // [rows, m] bool, int64
};

Hits hits(const torch::Tensor& tile, std::int64_t first, const IdPlan& plan) {
  const auto& ids = static_cast<const AtenIdPlan&>(plan).ids;
  auto in = (ids >= first) & (ids < first + tile.size(1));
  return {in, at::where(in, ids - first, at::zeros_like(ids))};
}

/// Signed integers that order as the floats do; ties are told apart by the lower id, which sorts higher.
torch::Tensor sort_keys(const torch::Tensor& values, const torch::Tensor& ids) {
  const auto positive = at::where(values == 0, at::zeros_like(values), values);  // -0 equals 0
  const auto bits = positive.view(torch::kInt32).to(torch::kInt64);
  const auto ordered = at::where(bits < 0, bits ^ 0x7fffffffLL, bits);
  return ordered * (1LL << 32) + (0x7fffffffLL - ids);
}

}  // namespace

std::unique_ptr<IdPlan> AtenTileBackend::plan(const torch::Tensor& ids, std::int64_t) const {
  return std::make_unique<AtenIdPlan>(ids);
}

void AtenTileBackend::take(const torch::Tensor& tile, std::int64_t first, const IdPlan& plan,
                           torch::Tensor& logits) const {
  const auto hit = hits(tile, first, plan);
  logits.copy_(at::where(hit.in, tile.gather(1, hit.column), logits));
}

void AtenTileBackend::mask(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, std::int64_t excluded) const {
  if (excluded == 0) return;
  const auto hit = hits(tile, first, plan);
  const auto column = hit.column.narrow(1, 0, excluded);
  const auto gone = at::where(hit.in.narrow(1, 0, excluded), -kInfinity, 0.0f).to(torch::kFloat32);
  tile.scatter_add_(1, column, gone);  // adding 0 at column 0 changes nothing
}

void AtenTileBackend::add(torch::Tensor& tile, std::int64_t first, const IdPlan& plan,
                          const torch::Tensor& grad) const {
  const auto hit = hits(tile, first, plan);
  tile.scatter_add_(1, hit.column, at::where(hit.in, grad, at::zeros_like(grad)));
}

void AtenTileBackend::accumulate(const torch::Tensor& tile, const std::vector<double>& temperatures,
                                 LseState& state) const {
  const auto highest = at::maximum(state.max, tile.amax(1));
  const auto base = at::where(highest == -kInfinity, at::zeros_like(highest), highest);
  const auto shifted = tile - base.unsqueeze(1);
  const auto fall = (state.max - base).to(torch::kFloat64);  // -inf at first: exp gives 0
  for (std::size_t t = 0; t < temperatures.size(); ++t) {
    const double inv = 1.0 / temperatures[t];
    auto column = state.sums.select(1, static_cast<std::int64_t>(t));
    column.mul_((fall * inv).exp()).add_((shifted * inv).exp_().sum(1).to(torch::kFloat64));
  }
  state.max.copy_(highest);
}

void AtenTileBackend::softmax_grad(torch::Tensor& tile, const std::vector<double>& temperatures,
                                   const torch::Tensor& lse, const torch::Tensor& grad) const {
  auto out = at::zeros_like(tile);
  for (std::size_t t = 0; t < temperatures.size(); ++t) {
    const double inv = 1.0 / temperatures[t];
    const auto at_t = lse.select(1, static_cast<std::int64_t>(t)).unsqueeze(1);
    const auto base = at::where(at_t == -kInfinity, at::zeros_like(at_t), at_t);
    const auto scale = (grad.select(1, static_cast<std::int64_t>(t)) * inv).unsqueeze(1);
    out.add_((tile * inv - base).exp_().mul_(scale));
  }
  tile.copy_(out);
}

void AtenTileBackend::count(const torch::Tensor& tile, const torch::Tensor& threshold, torch::Tensor& greater,
                            torch::Tensor& equal, torch::Tensor& broken) const {
  const auto at_row = threshold.unsqueeze(1);
  greater.add_((tile > at_row).sum(1));
  equal.add_((tile == at_row).sum(1));
  broken.add_(at::isnan(tile).sum(1));
}

void AtenTileBackend::topk(torch::Tensor& tile, std::int64_t first, const std::vector<double>& temperatures,
                           TopKState& best, LseState& rest) const {
  const std::int64_t k = best.values.size(1);
  const auto ids = at::arange(first, first + tile.size(1), best.ids.options()).unsqueeze(0).expand_as(tile);
  const auto all_ids = at::cat({best.ids, ids}, 1);
  auto all = at::cat({best.values, tile}, 1);
  const auto empty = all_ids < 0;
  const auto keys = sort_keys(all, all_ids).masked_fill(empty, std::numeric_limits<std::int64_t>::min());
  const auto chosen = std::get<1>(at::topk(keys, k, 1, true, true));
  best.values.copy_(all.gather(1, chosen));
  best.ids.copy_(all_ids.gather(1, chosen));
  all.scatter_(1, chosen, -kInfinity);
  accumulate(all, temperatures, rest);
}

const TileBackend& aten_tile_backend() {
  static const AtenTileBackend backend;
  return backend;
}

}  // namespace decant::models
