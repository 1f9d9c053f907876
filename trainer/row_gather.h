// Rows of all ranks for losses of batch scope, with gradient.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "dist/communicator.h"

namespace decant::trainer {

/// Rows of every rank, end to end by rank; this rank's begin at `first`.
struct GatheredRows {
  torch::Tensor rows;
  std::int64_t first = 0;
};

/// All ranks make the same calls in the same order, also those that have no row. Backward is collective too, so a
/// gathered tensor's gradient is taken at once (torch::autograd::grad), before any bucket of the reducer is under way.
class RowGather {
 public:
  explicit RowGather(dist::Communicator& communicator) : communicator_(communicator) {}
  /// rows [n, ...] contiguous float32 or int64, n of its own on every rank -> [N, ...]. Differentiable: a row's gradient
  /// is the sum over ranks.
  [[nodiscard]] GatheredRows gather(const torch::Tensor& rows);
  /// Sum over ranks of a float32 tensor of one shape, differentiable the same way.
  [[nodiscard]] torch::Tensor sum(const torch::Tensor& values);
  [[nodiscard]] dist::Communicator& communicator() { return communicator_; }

 private:
  dist::Communicator& communicator_;
};

}  // namespace decant::trainer
