// The catalogue walk over a dense weight [items, dim]: one autograd node, and the searches without gradient.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/catalogue.h"
#include "models/ops/tile_backend.h"

namespace decant::models {

/// Sizes of a walk. Zero: chosen by the number of rows so that a tile stays in the second-level cache.
struct WalkOptions {
  std::int64_t tile_items = 0;
  std::int64_t chunk_rows = 0;
  const TileBackend* backend = nullptr;  // null: that of the tensors' device
};

/// hidden [rows, dim], weight [items, dim], float32, same device. One walk forward, one backward (logits are computed
/// again, not kept: memory is a tile a thread). Forward and backward bits depend on the number of threads only through
/// how tiles are dealt to them; inside a parallel region one thread walks alone.
[[nodiscard]] WalkResult walk_catalogue(const torch::Tensor& hidden, const torch::Tensor& weight,
                                        const WalkRequest& request, const WalkOptions& options = {});
[[nodiscard]] TopKResult topk_catalogue(const torch::Tensor& hidden, const torch::Tensor& weight,
                                        const TopKRequest& request, const WalkOptions& options = {});
/// seen_ids [rows, m] int64, -1: none; undefined: no unseen ranks. Ranks are -1 where a score is NaN.
[[nodiscard]] RankResult rank_in_catalogue(const torch::Tensor& hidden, const torch::Tensor& weight,
                                           const torch::Tensor& targets, const torch::Tensor& seen_ids,
                                           const WalkOptions& options = {});

}  // namespace decant::models
