// What the kinds share: columns as tensors, and the columns of every kind that keeps scores.
#pragma once

#include "trainer/labels/label_kind.h"

namespace decant::trainer {

/// Options of the kinds that store a rest beside their ids.
struct RestOptions : base::Options {
  std::vector<double> temperatures{1, 1.5, 2, 3, 4, 6, 10};
  void describe(base::Fields& fields) override;
};

/// Converts to the column's type; ids of -1 become "no item". Throws NumericError when a finite value leaves the
/// type's range.
void set_column(data::LabelRows& out, const std::string& name, const torch::Tensor& values);

/// [targets, width], or [targets] at width 1: int64 of u32 ("no item" is -1), float32 of all floats. A copy on `device`;
/// undefined when the set has no such column.
[[nodiscard]] torch::Tensor get_column(const data::LabelRows& rows, const std::string& name, torch::Device device);

/// "peak", "target_logit", "target_rank" and the moments, one value each.
[[nodiscard]] std::vector<data::LabelColumn> score_columns();

/// Logits relative to each row's highest, which is stored apart: ids, logits, peak, and the rest when there are
/// temperatures.
void set_scores(data::LabelRows& out, const torch::Tensor& ids, const torch::Tensor& logits,
                const torch::Tensor& rest_lse, const std::vector<double>& temperatures);

/// Mean and variance of the row's logits over the catalogue.
void set_moments(data::LabelRows& out, const TeacherBlock& block);

/// What set_scores and its kin have stored. `stored`: the temperatures of the column rest_lse.
[[nodiscard]] TeacherLabels decode_scores(const data::LabelRows& rows, const std::vector<double>& stored,
                                          const std::set<double>& temperatures, torch::Device device);

/// The kinds that store ids with their logits, and the rest. `most`: ids a target at most.
class KindWithRest : public LabelKind {
 public:
  KindWithRest(const RestOptions& options, std::int64_t most) : temperatures_(options.temperatures), most_(most) {}
  [[nodiscard]] std::vector<data::LabelColumn> columns(const LabelShape& shape) const override;
  [[nodiscard]] TeacherLabels decode(const data::LabelRows& rows, const std::set<double>& temperatures,
                                     torch::Device device) const override;
  [[nodiscard]] std::int64_t ids() const override { return most_; }
  [[nodiscard]] bool has_rest(double t) const override;

 protected:
  [[nodiscard]] const std::vector<double>& temperatures() const { return temperatures_; }

 private:
  std::vector<double> temperatures_;
  std::int64_t most_;
};

/// Throws NumericError naming the block's rows.
void check_finite(const TeacherBlock& block, const torch::Tensor& scores);

/// Calls visit(first, logits [rows, items]) over runs of targets, so that no more than a few MiB of logits are there.
void for_each_logits(const TeacherBlock& block,
                     const std::function<void(std::int64_t first, const torch::Tensor& logits)>& visit);

/// Rank from 0 of each target among a row's logits: #greater + floor(#equal others / 2). [rows] float32.
[[nodiscard]] torch::Tensor rank_among(const torch::Tensor& logits, const torch::Tensor& targets);

/// What keys the draws of each target: (seed, row of the dataset, place of the target in the full history).
[[nodiscard]] std::vector<std::uint64_t> target_keys(const data::PackedBatch& batch, std::uint64_t seed);

}  // namespace decant::trainer
