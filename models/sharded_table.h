// A table whose rows are dealt over ranks: a catalogue that no rank has room for.
#pragma once

#include <memory>

#include "models/exchange.h"
#include "models/logical_tensor.h"
#include "models/ops/sharded_walk.h"
#include "models/table.h"

namespace decant::models {

/// Row i is row i / ranks of parameter "weight" [own rows, dim] on rank i % ranks; first values are LocalTable's, to the
/// bit. Every operation is collective. Gradients of the rows are complete on their rank after backward and are not to be
/// summed over ranks; backward reaches every rank through take_tie(). Throws ConfigError for fewer items than ranks.
class ShardedTable : public Table {
 public:
  /// `exchange` null: one rank.
  ShardedTable(std::int64_t items, std::int64_t dim, std::uint64_t seed, std::shared_ptr<Exchange> exchange);
  [[nodiscard]] std::int64_t items() const override { return deal_.rows; }
  [[nodiscard]] std::int64_t dim() const override { return weight.size(1); }
  [[nodiscard]] std::int64_t values() const override { return items() * dim(); }
  [[nodiscard]] bool collective() const override { return true; }
  [[nodiscard]] torch::Tensor take_tie() override;
  [[nodiscard]] torch::Tensor lookup(const torch::Tensor& ids) override;
  [[nodiscard]] WalkResult walk(const torch::Tensor& hidden, const WalkRequest& request) override;
  [[nodiscard]] Spread spread() override;
  [[nodiscard]] TopKResult topk(const torch::Tensor& hidden, const TopKRequest& request) override;
  [[nodiscard]] RankResult rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                                   const std::vector<std::int64_t>& seen_offsets,
                                   const std::vector<std::int64_t>& seen_ids) override;
  /// `own` [own rows, ...], dealt as the rows are (the weight, a moment of an optimiser), as the whole it is a part of.
  [[nodiscard]] LogicalTensor whole(const std::string& name, const torch::Tensor& own) const;
  [[nodiscard]] const Deal& deal() const { return deal_; }
  [[nodiscard]] Exchange& exchange() const { return *exchange_; }
  torch::Tensor weight;

 private:
  [[nodiscard]] Part part() const { return {weight, deal_, exchange_.get()}; }
  torch::Tensor tied(const Tied& made);
  std::shared_ptr<Exchange> exchange_;
  Deal deal_;
  torch::Tensor tie_;
};

}  // namespace decant::models
