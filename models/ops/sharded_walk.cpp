#include "models/ops/sharded_walk.h"

#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <stdexcept>

namespace decant::models {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Everybody's number of rows. What must be the same everywhere is compared, so that a difference is no hang.
std::vector<std::int64_t> agree_on_rows(Exchange& exchange, std::int64_t rows, const std::vector<std::int64_t>& same) {
  auto mine = same;
  mine.insert(mine.begin(), rows);
  const auto all = exchange.gather_host(mine);
  std::vector<std::int64_t> counts;
  for (std::size_t at = 0; at < all.size(); at += mine.size()) {
    counts.push_back(all[at]);
    if (!std::equal(same.begin(), same.end(), all.begin() + static_cast<std::ptrdiff_t>(at) + 1))
      throw std::invalid_argument("ranks ask different things of a table that is sharded over them");
  }
  return counts;
}

/// [ranks, rows, temperatures] float64 -> [rows, temperatures] float32.
Tensor put_together(const Tensor& lse) { return at::logsumexp(lse, 0).to(torch::kFloat32); }

class Walk : public torch::autograd::Function<Walk> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& ids,
                               std::int64_t excluded, const std::vector<double>& temperatures, const Deal& deal,
                               Exchange* exchange, WalkOptions options) {
    const auto counts = agree_on_rows(*exchange, hidden.size(0),
                                      {ids.size(1), excluded, static_cast<std::int64_t>(temperatures.size())});
    const auto rows = gather_rows(hidden, counts, *exchange);
    const auto own_ids = deal.own_rows(gather_rows(ids, counts, *exchange));
    const auto walked = walk_forward(rows, weight.detach(), {temperatures, own_ids, excluded}, options);
    const auto parts = exchange->all_gather(walked.lse).view({deal.ranks, rows.size(0), walked.lse.size(1)});
    const auto lse = put_together(parts);
    // An item's logit is with one part alone: the others add zeros.
    const auto logits = return_rows(walked.logits, counts, *exchange).sum(0);
    std::int64_t first = 0;
    for (int r = 0; r < deal.rank; ++r) first += counts[static_cast<std::size_t>(r)];
    context->save_for_backward({rows, weight, own_ids, lse});
    auto& data = context->saved_data;
    data["exchange"] = reinterpret_cast<std::int64_t>(exchange);
    data["counts"] = counts;
    data["excluded"] = excluded;
    data["temperatures"] = temperatures;
    data["sizes"] = std::vector<std::int64_t>{options.tile_items, options.chunk_rows};
    return {lse.narrow(0, first, hidden.size(0)).clone(), logits, at::zeros({}, hidden.options().requires_grad(false))};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    auto& data = context->saved_data;
    auto& exchange = *reinterpret_cast<Exchange*>(data["exchange"].toInt());
    const auto saved = context->get_saved_variables();
    const auto counts = data["counts"].toIntVector();
    const auto sizes = data["sizes"].toIntVector();
    const WalkRequest request{data["temperatures"].toDoubleVector(), saved[2], data["excluded"].toInt()};
    const auto grad_lse = gather_rows(grads[0], counts, exchange),
               grad_logits = gather_rows(grads[1], counts, exchange);
    const auto out =
        walk_backward(saved[0], saved[1].detach(), request, saved[3], grad_lse, grad_logits, {sizes[0], sizes[1]});
    const auto hidden = return_rows(out.hidden, counts, exchange).sum(0);
    return {hidden, out.weight, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

/// Calls visit(rank, first, count) for the rows of each rank, one rank's by one thread, as a block is evaluated on one
/// rank: the same bits.
void over_ranks(const std::vector<std::int64_t>& counts, torch::Device device,
                const std::function<void(std::size_t rank, std::int64_t first, std::int64_t count)>& visit) {
  std::vector<std::int64_t> firsts;
  for (std::int64_t first = 0; const auto count : counts) firsts.push_back(first), first += count;
  const int threads = device.is_cpu() && !at::in_parallel_region() ? at::get_num_threads() : 1;
  if (threads <= 1) {
    for (std::size_t r = 0; r < counts.size(); ++r) visit(r, firsts[r], counts[r]);
    return;
  }
  std::exception_ptr failure;
  std::mutex mutex;
  // LibTorch is serial inside a parallel region, also where there is one rank alone: two threads at least.
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::size_t r = 0; r < counts.size(); ++r) {
    try {
      const torch::NoGradGuard no_grad;
      visit(r, firsts[r], counts[r]);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

/// Sum over parts of counts that are of this rank's rows. `counts`: of all rows, by rank.
RankCounts total(const std::vector<RankCounts>& by_rank, const std::vector<std::int64_t>& rows, Exchange& exchange) {
  std::vector<Tensor> all;
  all.reserve(by_rank.size());
  for (const auto& counts : by_rank) all.push_back(at::stack({counts.greater, counts.equal, counts.broken}, 1));
  const auto sums = return_rows(at::cat(all), rows, exchange).sum(0);
  return {sums.select(1, 0), sums.select(1, 1), sums.select(1, 2)};
}

/// Columns filled up to `width` with `value`.
Tensor widened(const Tensor& values, std::int64_t width, double value) {
  if (values.size(1) == width) return values;
  return at::cat({values, at::full({values.size(0), width - values.size(1)}, value, values.options())}, 1);
}

/// The k best of the candidates [rows, n] that the parts have named, and everything else into the rest.
TopKResult merge(const Tensor& logits, const Tensor& ids, const Tensor& rest, const TopKRequest& request,
                 std::int64_t k) {
  const auto order = order_of_best(logits, ids);
  const auto sorted = logits.gather(1, order);
  TopKResult out{ids.gather(1, order).narrow(1, 0, k).contiguous(), sorted.narrow(1, 0, k).contiguous(), {}, {}, {}};
  const auto left = sorted.narrow(1, k, sorted.size(1) - k).to(torch::kFloat64);
  std::vector<Tensor> lse;
  for (std::size_t t = 0; t < request.temperatures.size(); ++t)
    lse.push_back(at::logsumexp(
        at::cat({rest.select(2, static_cast<std::int64_t>(t)).t(), left / request.temperatures[t]}, 1), 1));
  out.rest_lse = lse.empty() ? at::zeros({ids.size(0), 0}, logits.options()) : at::stack(lse, 1).to(torch::kFloat32);
  return out;
}

}  // namespace

ShardedWalk walk_sharded(const Part& part, const Tensor& hidden, const WalkRequest& request,
                         const WalkOptions& options) {
  const auto ids = request.ids.defined() ? request.ids.contiguous()
                                         : at::zeros({hidden.size(0), 0}, hidden.options().dtype(torch::kInt64));
  auto out = Walk::apply(hidden.contiguous(), part.weight, ids, request.excluded, request.temperatures, part.deal,
                         part.exchange, options);
  return {{out[0], out[1]}, out[2]};
}

TopKResult topk_sharded(const Part& part, const Tensor& hidden, const TopKRequest& request,
                        const Tensor& target_vectors, const WalkOptions& options) {
  const torch::NoGradGuard no_grad;
  auto& exchange = *part.exchange;
  const bool ranked = request.targets.defined();
  const auto counts = agree_on_rows(
      exchange, hidden.size(0), {request.k, static_cast<std::int64_t>(request.temperatures.size()), ranked ? 1 : 0});
  const std::int64_t k = std::min(request.k, part.deal.rows), width = std::min(k, part.deal.most());
  const auto rows = gather_rows(hidden, counts, exchange);
  Tensor own, all_own, targets;
  if (ranked) {
    own = own_logits(hidden, target_vectors, options);
    all_own = gather_rows(own, counts, exchange);
    targets = part.deal.own_rows(gather_rows(request.targets, counts, exchange));
  }
  std::vector<PartTopK> found(counts.size());
  over_ranks(counts, hidden.device(), [&](std::size_t r, std::int64_t first, std::int64_t count) {
    const auto of = [&](const Tensor& tensor) { return ranked ? tensor.narrow(0, first, count) : Tensor(); };
    found[r] = topk_in_part(rows.narrow(0, first, count), part.weight.detach(), {k, request.temperatures, of(targets)},
                            of(all_own), options);
  });
  std::vector<Tensor> ids, logits, rest;
  for (const auto& [best, ignored] : found) {
    ids.push_back(widened(part.deal.ids(best.ids), width, -1));
    logits.push_back(widened(best.logits, width, -kInfinity));
    rest.push_back(best.rest_lse);
  }
  const auto by_row = [](const Tensor& parts) { return parts.transpose(0, 1).flatten(1); };  // [parts, rows, n]
  auto out =
      merge(by_row(return_rows(at::cat(logits), counts, exchange)), by_row(return_rows(at::cat(ids), counts, exchange)),
            return_rows(at::cat(rest), counts, exchange), request, k);
  if (!ranked) return out;
  std::vector<RankCounts> by_rank;
  by_rank.reserve(found.size());
  for (const auto& one : found) by_rank.push_back(one.counts);
  out.target_logit = own;
  out.target_rank = rank_of_counts(total(by_rank, counts, exchange), own).to(torch::kFloat32);
  return out;
}

RankResult rank_sharded(const Part& part, const Tensor& hidden, const Tensor& targets, const Tensor& target_vectors,
                        const Tensor& seen_ids, const WalkOptions& options) {
  const torch::NoGradGuard no_grad;
  auto& exchange = *part.exchange;
  const bool seen = seen_ids.defined();
  const auto counts = agree_on_rows(exchange, hidden.size(0), {seen ? 1 : 0});
  const auto rows = gather_rows(hidden, counts, exchange);
  const auto own = own_logits(hidden, target_vectors, options);
  const auto all_own = gather_rows(own, counts, exchange);
  const auto own_targets = part.deal.own_rows(gather_rows(targets, counts, exchange));
  Tensor own_seen;
  if (seen) {
    const auto widths = exchange.gather_host({seen_ids.size(1)});
    const auto widest = *std::max_element(widths.begin(), widths.end());
    own_seen = part.deal.own_rows(gather_rows(widened(seen_ids, widest, -1), counts, exchange));
  }
  std::vector<PartRanks> found(counts.size());
  over_ranks(counts, hidden.device(), [&](std::size_t r, std::int64_t first, std::int64_t count) {
    const auto of = [&](const Tensor& tensor) { return tensor.narrow(0, first, count); };
    found[r] = count_in_part(of(rows), part.weight.detach(), of(all_own), of(own_targets),
                             seen ? of(own_seen) : Tensor(), options);
  });
  std::vector<RankCounts> all, unseen;
  for (const auto& one : found) all.push_back(one.all), unseen.push_back(one.unseen);
  return {rank_of_counts(total(all, counts, exchange), own),
          seen ? rank_of_counts(total(unseen, counts, exchange), own) : Tensor()};
}

}  // namespace decant::models
