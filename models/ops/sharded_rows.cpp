#include "models/ops/sharded_rows.h"

#include <ATen/ops/_unique2.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace decant::models {

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kRunBytes = std::int64_t{8} << 20;

Exchange& exchange_in(AutogradContext* context) {
  return *reinterpret_cast<Exchange*>(context->saved_data["exchange"].toInt());
}

void keep_exchange(AutogradContext* context, Exchange& exchange) {
  context->saved_data["exchange"] = reinterpret_cast<std::int64_t>(&exchange);
}

/// Gradients of rows `ids` of a table of `rows`, summed.
Tensor scattered(const Tensor& grad, const Tensor& ids, std::int64_t rows) {
  if (ids.numel() == 0) return at::zeros({rows, grad.size(1)}, grad.options());
  return at::embedding_dense_backward(grad, ids, rows, -1, false);
}

class Lookup : public torch::autograd::Function<Lookup> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& weight, const Tensor& ids, std::int64_t ranks,
                               Exchange* exchange) {
    const auto [unique, place, ignored] = at::_unique2(ids, /*sorted=*/true, /*return_inverse=*/true, false);
    const auto owner = unique.remainder(ranks);
    const auto order = owner.argsort(/*stable=*/true, 0);
    const auto counted = at::bincount(owner, {}, ranks).cpu();
    const std::vector<std::int64_t> sent(counted.data_ptr<std::int64_t>(), counted.data_ptr<std::int64_t>() + ranks);
    const auto all = exchange->gather_host(sent);
    std::vector<std::int64_t> asked;
    for (std::int64_t r = 0; r < ranks; ++r)
      asked.push_back(all[static_cast<std::size_t>(r * ranks + exchange->rank())]);
    const auto wanted = exchange->all_to_all(unique.index_select(0, order), sent, asked).div(ranks, "floor");
    const auto rows = exchange->all_to_all(weight.detach().index_select(0, wanted), asked, sent);
    keep_exchange(context, *exchange);
    context->save_for_backward({place, order, wanted});
    context->saved_data["sent"] = sent;
    context->saved_data["asked"] = asked;
    context->saved_data["rows"] = weight.size(0);
    auto by_id = at::empty_like(rows);
    by_id.index_copy_(0, order, rows);
    return {by_id.index_select(0, place), at::zeros({}, weight.options().requires_grad(false))};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto &place = saved[0], &order = saved[1], &wanted = saved[2];
    auto& data = context->saved_data;
    const auto by_id = scattered(grads[0].contiguous(), place, order.size(0));
    const auto arrived = exchange_in(context).all_to_all(by_id.index_select(0, order), data["sent"].toIntVector(),
                                                         data["asked"].toIntVector());
    return {scattered(arrived, wanted, data["rows"].toInt()), Tensor(), Tensor(), Tensor()};
  }
};

class Sum : public torch::autograd::Function<Sum> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& mine, Exchange* exchange) {
    keep_exchange(context, *exchange);
    return {exchange->sum(mine.detach().contiguous()), at::zeros({}, mine.options().requires_grad(false))};
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    return {exchange_in(context).sum(grads[0].contiguous()), Tensor()};
  }
};

}  // namespace

Tensor Deal::own_rows(const Tensor& ids) const {
  const auto here = (ids >= 0) & (ids.remainder(ranks) == rank);
  return at::where(here, ids.div(ranks, "floor"), at::full_like(ids, -1));
}

Tensor Deal::ids(const Tensor& own_rows) const { return at::where(own_rows >= 0, own_rows * ranks + rank, own_rows); }

Tied sharded_lookup(const Tensor& weight, const Tensor& ids, const Deal& deal, Exchange& exchange) {
  auto out = Lookup::apply(weight, ids.contiguous(), std::int64_t{deal.ranks}, &exchange);
  return {out[0], out[1]};
}

Tied sharded_sum(const Tensor& mine, Exchange& exchange) {
  auto out = Sum::apply(mine, &exchange);
  return {out[0], out[1]};
}

Tensor gather_rows(const Tensor& mine, const std::vector<std::int64_t>& counts, Exchange& exchange) {
  const std::int64_t most = *std::max_element(counts.begin(), counts.end());
  auto sizes = mine.sizes().vec();
  sizes[0] = most;
  auto padded = mine.detach().contiguous();
  if (mine.size(0) < most) {
    padded = at::zeros(sizes, mine.options().requires_grad(false));
    padded.narrow(0, 0, mine.size(0)).copy_(mine.detach());
  }
  const auto all = exchange.all_gather(padded);
  std::vector<Tensor> parts;
  for (std::size_t r = 0; r < counts.size(); ++r)
    parts.push_back(all.narrow(0, static_cast<std::int64_t>(r) * most, counts[r]));
  return at::cat(parts);
}

Tensor return_rows(const Tensor& all, const std::vector<std::int64_t>& counts, Exchange& exchange) {
  const std::int64_t own = counts[static_cast<std::size_t>(exchange.rank())];
  auto sizes = all.sizes().vec();
  sizes[0] = own;
  sizes.insert(sizes.begin(), exchange.ranks());
  return exchange.all_to_all(all.contiguous(), counts, std::vector<std::int64_t>(counts.size(), own)).view(sizes);
}

void show_rows(const Tensor& own, const Deal& deal, Exchange& exchange,
               const std::function<void(const Tensor&)>& show) {
  const auto values = own.detach();
  const auto row_bytes = std::max<std::int64_t>(1, values.stride(0) * static_cast<std::int64_t>(values.element_size()));
  const std::int64_t run = std::max<std::int64_t>(1, kRunBytes / row_bytes / deal.ranks);
  std::vector<std::int64_t> none(static_cast<std::size_t>(deal.ranks), 0);
  for (std::int64_t first = 0; first < deal.most(); first += run) {
    auto counts = none;  // of each rank's rows in this run
    for (int r = 0; r < deal.ranks; ++r)
      counts[static_cast<std::size_t>(r)] =
          std::clamp<std::int64_t>(Deal{deal.rows, r, deal.ranks}.own() - first, 0, run);
    auto sent = none;
    sent[0] = counts[static_cast<std::size_t>(deal.rank)];
    const bool leads = deal.rank == 0;
    const auto mine = values.narrow(0, std::min(first, values.size(0)), sent[0]).contiguous();
    const auto got = exchange.all_to_all(mine, sent, leads ? counts : none).cpu();
    if (!leads) continue;
    auto rows = at::empty_like(got);
    std::int64_t at = 0;
    for (int r = 0; r < deal.ranks; ++r) {
      const auto count = counts[static_cast<std::size_t>(r)];
      if (count > 0) rows.slice(0, r, got.size(0), deal.ranks).copy_(got.narrow(0, at, count));
      at += count;
    }
    show(rows);
  }
}

void keep_rows(const Tensor& rows, std::int64_t first, const Deal& deal, Tensor own) {
  // The first row at or after `first` that is this rank's.
  const std::int64_t skip = (deal.rank - first % deal.ranks + deal.ranks) % deal.ranks;
  if (skip >= rows.size(0)) return;
  const auto mine = rows.slice(0, skip, rows.size(0), deal.ranks);
  const torch::NoGradGuard no_grad;
  own.narrow(0, (first + skip) / deal.ranks, mine.size(0)).copy_(mine);
}

}  // namespace decant::models
