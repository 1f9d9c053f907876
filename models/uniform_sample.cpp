#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "models/ops/walk.h"
#include "models/table.h"

namespace decant::models {

UniformSample::UniformSample(Table& table, std::int64_t negatives, bool log_q, std::uint64_t key)
    : table_(table), log_q_(log_q) {
  const std::int64_t items = table.items(), count = std::min(negatives, items);
  const base::Permutation order(static_cast<std::uint64_t>(items), key);
  std::vector<std::int64_t> drawn;
  for (std::int64_t i = 0; i < count; ++i)
    drawn.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(i))));
  std::sort(drawn.begin(), drawn.end());
  drawn_ = torch::tensor(drawn, torch::kInt64);
}

std::int64_t UniformSample::items() const { return table_.items(); }

WalkResult UniformSample::walk(const torch::Tensor& hidden, const WalkRequest& request) {
  const auto device = hidden.device();
  const auto drawn = drawn_.to(device);
  // Where the excluded ids stand among the drawn ones (-1: not drawn), so that the small walk leaves them out too.
  const auto excluded = request.ids.narrow(1, 0, request.excluded).contiguous();
  const auto place = at::searchsorted(drawn, excluded).clamp_max(drawn.size(0) - 1);
  const auto found = drawn.index_select(0, place.flatten()).view_as(place) == excluded;
  const auto local = at::where(found, place, at::full_like(place, -1));
  auto small = walk_catalogue(hidden, table_.lookup(drawn), {request.temperatures, local, request.excluded});
  if (log_q_) {
    const auto left = (drawn.size(0) - found.sum(1)).to(torch::kFloat32);
    const auto all = (table_.items() - (excluded >= 0).sum(1)).to(torch::kFloat32);
    small.lse = small.lse + (all / left.clamp_min(1)).log().unsqueeze(1);
  }
  const auto wanted = request.ids.clamp_min(0);
  const auto rows = table_.lookup(wanted.flatten()).view({wanted.size(0), wanted.size(1), hidden.size(1)});
  const auto logits = rows.matmul(hidden.unsqueeze(2)).squeeze(2) * (request.ids >= 0);
  return {small.lse, logits};
}

}  // namespace decant::models
