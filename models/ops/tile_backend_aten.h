// The walk's steps in ATen operations, for any device.
#pragma once

#include "models/ops/tile_backend.h"

namespace decant::models {

class AtenTileBackend : public TileBackend {
 public:
  [[nodiscard]] std::unique_ptr<IdPlan> plan(const torch::Tensor& ids, std::int64_t width) const override;
  void take(const torch::Tensor& tile, std::int64_t first, const IdPlan& plan, torch::Tensor& logits) const override;
  void mask(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, std::int64_t excluded) const override;
  void add(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, const torch::Tensor& grad) const override;
  void accumulate(const torch::Tensor& tile, const std::vector<double>& temperatures, LseState& state) const override;
  void softmax_grad(torch::Tensor& tile, const std::vector<double>& temperatures, const torch::Tensor& lse,
                    const torch::Tensor& grad) const override;
  void count(const torch::Tensor& tile, const torch::Tensor& threshold, torch::Tensor& greater, torch::Tensor& equal,
             torch::Tensor& broken) const override;
  void topk(torch::Tensor& tile, std::int64_t first, const std::vector<double>& temperatures, TopKState& best,
            LseState& rest) const override;
};

}  // namespace decant::models
