// A table of int8 rows that is searched in int8 arithmetic: what serves, not what is trained.
#pragma once

#include <vector>

#include "models/int8_rows.h"
#include "models/table.h"

namespace decant::models {

struct WalkOptions;

/// `topk` and `rank_of` round each hidden row to int8 too, with a scale of its own (Int8Rows); the products are exact
/// integers, so a logit has the same bits on every processor. `lookup`, `walk` and `spread` work on the decoded rows, in
/// float32. On the CPU; nothing here has a gradient. Buffers "weight" and "weight_scale".
class Int8Table : public DenseTable {
 public:
  explicit Int8Table(const Int8Rows& rows);
  [[nodiscard]] std::int64_t items() const override { return held_.values.size(0); }
  [[nodiscard]] std::int64_t dim() const override { return held_.values.size(1); }
  [[nodiscard]] std::int64_t values() const override { return held_.values.numel(); }
  [[nodiscard]] torch::Tensor lookup(const torch::Tensor& ids) override;
  [[nodiscard]] torch::Tensor rows() override { return from_int8(held_); }
  [[nodiscard]] TopKResult topk(const torch::Tensor& hidden, const TopKRequest& request) override;
  [[nodiscard]] RankResult rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                                   const std::vector<std::int64_t>& seen_offsets,
                                   const std::vector<std::int64_t>& seen_ids) override;

 private:
  /// Hidden rows as the kernels want them.
  class Queries;
  [[nodiscard]] WalkOptions searching(const Queries& queries) const;
  /// Of one item a row.
  [[nodiscard]] torch::Tensor own_logits(const Queries& queries, const torch::Tensor& targets) const;

  Int8Rows held_;
  std::int64_t groups_;
  std::vector<std::uint8_t> packed_;  // held_.values as models/ops/int8_kernels.h wants them
};

}  // namespace decant::models
