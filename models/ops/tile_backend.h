// The steps of a tile walk on one kind of device. The walk itself (walk.cpp) is written once.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace decant::models {

/// Running log-sum-exp of each row at each temperature, relative to the running maximum.
struct LseState {
  torch::Tensor max;   // [rows] float32, starts at -inf
  torch::Tensor sums;  // [rows, temperatures] float64
};

/// Running k best of each row.
struct TopKState {
  torch::Tensor values;  // [rows, k] float32, starts at -inf
  torch::Tensor ids;     // [rows, k] int64, starts at -1
};

/// Ids [rows, m] arranged so that the entries of a tile are found at once; made by TileBackend::plan.
class IdPlan {
 public:
  virtual ~IdPlan() = default;
};

/// tile [rows, cols] float32 holds the logits of items [first, first + cols). All ids of one plan were planned for the
/// same tile width; `first` is a multiple of it.
class TileBackend {
 public:
  virtual ~TileBackend() = default;
  [[nodiscard]] virtual std::unique_ptr<IdPlan> plan(const torch::Tensor& ids, std::int64_t width) const = 0;
  /// logits[r, s] = tile[r, ids[r, s] - first] for the ids in the tile.
  virtual void take(const torch::Tensor& tile, std::int64_t first, const IdPlan& plan, torch::Tensor& logits) const = 0;
  /// Sets the entries of the first `excluded` columns of ids to -inf.
  virtual void mask(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, std::int64_t excluded) const = 0;
  /// tile[r, ids[r, s] - first] += grad[r, s].
  virtual void add(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, const torch::Tensor& grad) const = 0;
  virtual void accumulate(const torch::Tensor& tile, const std::vector<double>& temperatures,
                          LseState& state) const = 0;
  virtual void softmax_grad(torch::Tensor& tile, const std::vector<double>& temperatures, const torch::Tensor& lse,
                            const torch::Tensor& grad) const = 0;
  /// Counts of entries above and equal to threshold [rows]; NaN entries make broken [rows] positive. All int64.
  virtual void count(const torch::Tensor& tile, const torch::Tensor& threshold, torch::Tensor& greater,
                     torch::Tensor& equal, torch::Tensor& broken) const = 0;
  /// Merges the tile into the k best; whatever leaves or never enters them is accumulated into `rest`. Ties: lower id
  /// first. REQUIRES: tiles come in ascending order. The tile is clobbered.
  virtual void topk(torch::Tensor& tile, std::int64_t first, const std::vector<double>& temperatures, TopKState& best,
                    LseState& rest) const = 0;
};

/// CPU kernels on CPU tensors; CUDA kernels where the build has them, else ATen operations.
[[nodiscard]] const TileBackend& tile_backend(torch::Device device);
/// ATen operations on any device: the reference that both others are tested against.
[[nodiscard]] const TileBackend& aten_tile_backend();

}  // namespace decant::models
