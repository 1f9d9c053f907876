// Rows of a table that is dealt over ranks: looked up by all-to-all, summed and put together.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/exchange.h"

namespace decant::models {

/// What an operation over ranks returns, and a zero that depends on it: whoever adds the zero to what is differentiated
/// makes every rank take part in the operation's backward, also one on which nothing else reaches it.
struct Tied {
  torch::Tensor value, tie;
};

/// weight [own rows, dim], ids [n] int64 in [0, rows), n of its own on every rank -> [n, dim]. Collective, as is its
/// backward: each asked row and its gradient travel once.
[[nodiscard]] Tied sharded_lookup(const torch::Tensor& weight, const torch::Tensor& ids, const Deal& deal,
                                  Exchange& exchange);

/// Sum over ranks, differentiable: the gradient is the sum over ranks of theirs. Collective, as is its backward.
[[nodiscard]] Tied sharded_sum(const torch::Tensor& mine, Exchange& exchange);

/// Rows of all ranks, counts[r] of rank r, end to end; `mine` is counts[own rank] long. Without gradient. Collective.
[[nodiscard]] torch::Tensor gather_rows(const torch::Tensor& mine, const std::vector<std::int64_t>& counts,
                                        Exchange& exchange);

/// Rows for all ranks, counts[r] of them rank r's -> the parts that all ranks have made of this rank's rows,
/// [ranks, own count, ...]. Without gradient. Collective.
[[nodiscard]] torch::Tensor return_rows(const torch::Tensor& all, const std::vector<std::int64_t>& counts,
                                        Exchange& exchange);

/// Shows runs of all rows [n, ...] in order, on the CPU, of a tensor that holds this rank's [own rows, ...]. Rank 0 is
/// shown the values, the others nothing. Collective; a run takes about 8 MiB.
void show_rows(const torch::Tensor& own, const Deal& deal, Exchange& exchange,
               const std::function<void(const torch::Tensor&)>& show);

/// Copies those of rows [first, first + n) that are this rank's into `own`.
void keep_rows(const torch::Tensor& rows, std::int64_t first, const Deal& deal, torch::Tensor own);

}  // namespace decant::models
