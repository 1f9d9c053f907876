// The operations on a catalogue whose rows are dealt over ranks. Every rank brings rows of its own (none is a number like
// any other) and gets the results of these; all rows meet all parts of the catalogue. All calls are collective.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/catalogue.h"
#include "models/exchange.h"
#include "models/ops/sharded_rows.h"
#include "models/ops/walk.h"

namespace decant::models {

/// This rank's part of a catalogue.
struct Part {
  torch::Tensor weight;  // [own rows, dim] float32, at least one row
  Deal deal;
  Exchange* exchange = nullptr;
};

/// hidden [rows, dim] and request: this rank's; ids are of the whole catalogue, temperatures, `excluded` and the number of
/// ids a row are the same on every rank (else: std::invalid_argument). Log-sum-exps of the parts are put
/// together in float64, in rank order. Backward is collective: the gradient of a part's rows is complete on its rank, that
/// of the hidden rows is the sum over parts. `tie`: see Tied.
struct ShardedWalk {
  WalkResult result;
  torch::Tensor tie;
};
[[nodiscard]] ShardedWalk walk_sharded(const Part& part, const torch::Tensor& hidden, const WalkRequest& request,
                                       const WalkOptions& options = {});

/// The rows of each rank are walked apart, so that a row's logits have the bits that they have on one rank.
/// `target_vectors` [rows, dim] with request.targets.
[[nodiscard]] TopKResult topk_sharded(const Part& part, const torch::Tensor& hidden, const TopKRequest& request,
                                      const torch::Tensor& target_vectors, const WalkOptions& options = {});

/// seen_ids as in rank_in_catalogue; ranks may have them of another width, but all or none have them.
[[nodiscard]] RankResult rank_sharded(const Part& part, const torch::Tensor& hidden, const torch::Tensor& targets,
                                      const torch::Tensor& target_vectors, const torch::Tensor& seen_ids,
                                      const WalkOptions& options = {});

}  // namespace decant::models
