#include "models/sharded_table.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/errors.h"

namespace decant::models {

namespace {

/// The rows of this rank, of all that LocalTable would draw, drawn in runs: what is not its own is dropped.
torch::Tensor first_rows(const Deal& deal, std::int64_t dim, std::uint64_t seed) {
  auto own = at::empty({deal.own(), dim}, torch::kFloat);
  draw_item_rows(deal.rows, dim, seed,
                 [&](std::int64_t first, const torch::Tensor& rows) { keep_rows(rows, first, deal, own); });
  return own;
}

}  // namespace

ShardedTable::ShardedTable(std::int64_t items, std::int64_t dim, std::uint64_t seed, std::shared_ptr<Exchange> exchange)
    : exchange_(exchange ? std::move(exchange) : std::make_shared<NoExchange>()),
      deal_{items, exchange_->rank(), exchange_->ranks()} {
  if (items < deal_.ranks)
    throw base::ConfigError("'table.kind: sharded': " + std::to_string(items) + " items cannot be dealt over " +
                            std::to_string(deal_.ranks) + " ranks");
  const torch::NoGradGuard no_grad;
  weight = register_parameter("weight", first_rows(deal_, dim, seed));
}

torch::Tensor ShardedTable::tied(const Tied& made) {
  if (made.tie.requires_grad()) tie_ = tie_.defined() ? tie_ + made.tie : made.tie;
  return made.value;
}

torch::Tensor ShardedTable::take_tie() { return std::exchange(tie_, torch::Tensor()); }

torch::Tensor ShardedTable::lookup(const torch::Tensor& ids) {
  return tied(sharded_lookup(weight, ids, deal_, *exchange_));
}

WalkResult ShardedTable::walk(const torch::Tensor& hidden, const WalkRequest& request) {
  auto walked = walk_sharded(part(), hidden, request);
  static_cast<void>(tied({walked.result.lse, walked.tie}));
  return walked.result;
}

Spread ShardedTable::spread() {
  const auto count = static_cast<double>(items());
  const auto mean = tied(sharded_sum(weight.sum(0), *exchange_)) / count;
  const auto centred = weight - mean;
  return {mean, tied(sharded_sum(centred.t().mm(centred), *exchange_)) / count};
}

TopKResult ShardedTable::topk(const torch::Tensor& hidden, const TopKRequest& request) {
  const torch::NoGradGuard no_grad;
  return topk_sharded(part(), hidden, request, request.targets.defined() ? lookup(request.targets) : torch::Tensor());
}

RankResult ShardedTable::rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                                 const std::vector<std::int64_t>& seen_offsets,
                                 const std::vector<std::int64_t>& seen_ids) {
  const torch::NoGradGuard no_grad;
  return rank_sharded(part(), hidden, targets, lookup(targets), padded_rows(seen_offsets, seen_ids, hidden.device()));
}

LogicalTensor ShardedTable::whole(const std::string& name, const torch::Tensor& own) const {
  const auto values = own.detach();
  auto shape = values.sizes().vec();
  shape[0] = deal_.rows;
  return {
      name,
      values.scalar_type(),
      shape,
      values,
      deal_.rank,
      deal_.ranks,
      [values, deal = deal_, exchange = exchange_](const LogicalTensor::Show& show) {
        show_rows(values, deal, *exchange, show);
      },
      [values, deal = deal_](std::int64_t first, const torch::Tensor& rows) { keep_rows(rows, first, deal, values); }};
}

}  // namespace decant::models
