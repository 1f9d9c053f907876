// Sums gradients over ranks while backward still runs. After PyTorch DDP (Li et al. 2020): flat buckets, hooks on the
// gradient accumulators, buckets launched in one fixed order on every rank.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dist/communicator.h"

namespace decant::dist {

struct ReducerOptions {
  std::size_t first_bucket_bytes = std::size_t{1} << 20;  // small, so that the exchange starts early
  /// 0: an eighth of all gradients, between the first bucket's size and 25 MiB. A bucket leaves when its last gradient is
  /// ready, so a model in two buckets would have one half of its exchange after backward.
  std::size_t bucket_bytes = 0;
  /// float32 or bfloat16: of float32 gradients on their way. bfloat16 halves the bytes; a rank's sum over micro-batches is
  /// rounded once, the ranks' sums are added in float32 and that sum is rounded once more, so the error does not grow with
  /// the number of ranks: at most 2^-7 of the sum over ranks of |gradient|. The same bits on every rank. Costs a buffer
  /// of half the size of the gradients. One rank exchanges nothing and rounds nothing.
  torch::ScalarType reduce_dtype = torch::kFloat32;
};

struct ReducerStats {
  std::int64_t bytes = 0;  // exchanged in the last step, as they travel
  /// What finish() waited for in the last step; on a device, what its stream did in the last step known so far (the
  /// host never waits to find out).
  double exposed_seconds = 0;
  /// CPU: time in which a bucket was on its way, as far as this rank has seen. Device: from the first bucket's start to
  /// the last one's end, of the same step as exposed_seconds.
  double exchange_seconds = 0;
  /// Share of the exchange that backward hid, 0 to 1.
  [[nodiscard]] double hidden() const;
};

/// Owns one flat gradient buffer a bucket; every parameter's .grad is an alias into it for as long as the reducer lives
/// (nobody else may set .grad to none: std::logic_error). REQUIRES: the same parameters, in the same order, on every
/// rank; the constructor compares them. A gradient a backward does not produce counts as zero.
///
///   reducer.begin();                        // zeroes the gradients
///   for each micro-batch: { if (last) reducer.arm(); loss.backward(); }
///   reducer.finish();                       // launches what is left, waits: .grad holds the sum over ranks
///
/// A rank without a micro-batch calls begin() and finish() only. After an exception in an armed backward, begin() first
/// takes part in the rest of that exchange, so that no other rank is left waiting.
class GradientReducer {
 public:
  GradientReducer(std::vector<torch::Tensor> parameters, Communicator& communicator, ReducerOptions options = {});
  ~GradientReducer();
  void begin();
  void arm();
  ReducerStats finish();
  /// The flat buffers, for norm, clipping and checks [elements] each.
  [[nodiscard]] const std::vector<torch::Tensor>& buckets() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // hooks hold it weakly
};

}  // namespace decant::dist
