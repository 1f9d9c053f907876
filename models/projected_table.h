// A table whose rows are wide ones seen through a learned projection: a teacher's item vectors under a narrow student.
#pragma once

#include <mutex>

#include "models/table.h"

namespace decant::models {

/// Item i is weight[i] times the transposed projection. Parameters "weight" [items, width], init as LocalTable's, and
/// "projection" [dim, width], init U(-1/sqrt(width), 1/sqrt(width)) drawn from (seed, "item projection"). The catalogue
/// is walked over composed rows, at the price of a table of width dim; without gradient they are kept until a parameter
/// changes.
class ProjectedTable : public DenseTable {
 public:
  ProjectedTable(std::int64_t items, std::int64_t width, std::int64_t dim, std::uint64_t seed);
  [[nodiscard]] std::int64_t items() const override { return weight.size(0); }
  [[nodiscard]] std::int64_t dim() const override { return projection.size(0); }
  [[nodiscard]] std::int64_t width() const { return weight.size(1); }
  [[nodiscard]] torch::Tensor lookup(const torch::Tensor& ids) override;
  [[nodiscard]] torch::Tensor rows() override;
  /// The rows as they are now, without gradient: the same bits at any number of threads.
  [[nodiscard]] torch::Tensor compose() const;
  void train(bool on = true) override;
  torch::Tensor weight, projection;

 private:
  std::mutex mutex_;
  torch::Tensor composed_;
  std::int64_t weight_version_ = -1, projection_version_ = -1;
};

}  // namespace decant::models
