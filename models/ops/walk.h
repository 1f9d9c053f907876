// The catalogue walk over a dense weight [items, dim]: one autograd node, and the searches without gradient.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>

#include "models/catalogue.h"
#include "models/ops/tile_backend.h"

namespace decant::models {

/// Sizes of a walk. Zero: chosen by the number of rows so that a tile stays in the second-level cache.
struct WalkOptions {
  std::int64_t tile_items = 0;
  std::int64_t chunk_rows = 0;
  const TileBackend* backend = nullptr;  // null: that of the tensors' device
  /// Of searches: fills a tile [n, count] with the logits of rows [row, row + n) and items [item, item + count), where
  /// these are not the products of hidden and weight (of which then only the sizes count). `item` is a multiple of 64.
  std::function<void(torch::Tensor& tile, std::int64_t row, std::int64_t item)> fill = {};
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

/// What a catalogue in several parts is put together of (models/ops/sharded_walk.h): as above, without autograd, over
/// one part. Ids are the part's own; -1 where an item is of another part.
struct WalkGrads {
  torch::Tensor hidden, weight;
};
/// The log-sum-exps are float64, so that putting them together adds no rounding.
[[nodiscard]] WalkResult walk_forward(const torch::Tensor& hidden, const torch::Tensor& weight,
                                      const WalkRequest& request, const WalkOptions& options = {});
/// `lse` [rows, temperatures] float32: of the whole catalogue.
[[nodiscard]] WalkGrads walk_backward(const torch::Tensor& hidden, const torch::Tensor& weight,
                                      const WalkRequest& request, const torch::Tensor& lse,
                                      const torch::Tensor& grad_lse, const torch::Tensor& grad_logits,
                                      const WalkOptions& options = {});

/// Of each row, how many items but its target are above it and beside it, and how many scores are NaN; [rows] int64.
/// They add up over parts.
struct RankCounts {
  torch::Tensor greater, equal, broken;
};
/// #greater + floor(#equal / 2); -1 where a score or `own` is NaN.
[[nodiscard]] torch::Tensor rank_of_counts(const RankCounts& counts, const torch::Tensor& own);

/// Logits [rows] of one item a row, given as its vector; the same bits as in rank_in_catalogue.
[[nodiscard]] torch::Tensor own_logits(const torch::Tensor& hidden, const torch::Tensor& vectors,
                                       const WalkOptions& options = {});

/// Against the target's logit `own` [rows]; `targets` [rows].
struct PartRanks {
  RankCounts all, unseen;  // unseen: undefined without seen_ids
};
[[nodiscard]] PartRanks count_in_part(const torch::Tensor& hidden, const torch::Tensor& weight,
                                      const torch::Tensor& own, const torch::Tensor& targets,
                                      const torch::Tensor& seen_ids, const WalkOptions& options = {});

/// `own` and `targets` undefined: no counts. The result's target fields stay undefined; its log-sum-exps are float64.
struct PartTopK {
  TopKResult best;
  RankCounts counts;
};
[[nodiscard]] PartTopK topk_in_part(const torch::Tensor& hidden, const torch::Tensor& weight,
                                    const TopKRequest& request, const torch::Tensor& own,
                                    const WalkOptions& options = {});

/// A whole catalogue's answer from that of its only part; `own` as it was given there.
[[nodiscard]] TopKResult finish_topk(PartTopK part, const torch::Tensor& own);

/// Descending by value, ties by lower id; ids of -1 last. Both [rows, n]. Returns the order, [rows, n] int64.
[[nodiscard]] torch::Tensor order_of_best(const torch::Tensor& values, const torch::Tensor& ids);

}  // namespace decant::models
