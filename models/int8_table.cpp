#include "models/int8_table.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/ops/int8_kernels.h"
#include "models/ops/walk.h"

namespace decant::models {

namespace {

std::int64_t whole(std::int64_t n, std::int64_t of) { return (n + of - 1) / of; }

constexpr float kRound = 12582912;  // 1.5 * 2^23: adding it leaves whole numbers, ties to even

std::vector<std::uint8_t> pack(const torch::Tensor& values, std::int64_t groups) {
  const std::int64_t rows = values.size(0), dim = values.size(1), block = groups * kInt8Columns * kInt8Rows;
  std::vector<std::uint8_t> out(static_cast<std::size_t>(whole(rows, kInt8Rows) * block), 128);
  const auto* from = values.const_data_ptr<std::int8_t>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < dim; ++c) {
      const std::int64_t at = r / kInt8Rows * block + c / kInt8Columns * kInt8Columns * kInt8Rows +
                              r % kInt8Rows * kInt8Columns + c % kInt8Columns;
      out[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(from[r * dim + c] + 128);
    }
  return out;
}

}  // namespace

/// Each row is rounded as to_int8 does it. With a value that is not finite its scale is NaN, and so are its products.
class Int8Table::Queries {
 public:
  Queries(const torch::Tensor& hidden, std::int64_t groups) : width_(groups * kInt8Columns) {
    const std::int64_t rows = hidden.size(0), dim = hidden.size(1);
    bytes_.resize(static_cast<std::size_t>(rows * width_));
    words_.resize(bytes_.size());
    sums_.resize(static_cast<std::size_t>(rows));
    scales_.resize(sums_.size());
    for (std::int64_t r = 0; r < rows; ++r) add(hidden.const_data_ptr<float>() + r * dim, dim, r);
  }

  [[nodiscard]] std::int64_t size() const { return std::ssize(sums_); }
  [[nodiscard]] Int8Query at(std::int64_t row) const {
    const auto r = static_cast<std::size_t>(row);
    return {bytes_.data() + row * width_, words_.data() + row * width_, sums_[r], scales_[r]};
  }
  /// With one row of a table: the same bits as from the kernels.
  [[nodiscard]] float logit(std::int64_t row, const std::int8_t* values, std::int64_t dim, float scale) const {
    const auto query = at(row);
    std::int32_t sum = 0;
    for (std::int64_t i = 0; i < dim; ++i) sum += values[i] * query.words[i];
    return static_cast<float>(sum) * query.scale * scale;
  }

 private:
  void add(const float* row, std::int64_t dim, std::int64_t r) {
    const auto at = static_cast<std::size_t>(r);
    float largest = 1e-30f;
    bool finite = true;
    for (std::int64_t i = 0; i < dim; ++i) {
      largest = std::max(largest, std::fabs(row[i]));
      finite = finite && std::isfinite(row[i]);
    }
    scales_[at] = finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
    if (!finite) return;
    auto* words = words_.data() + r * width_;
    auto* bytes = bytes_.data() + r * width_;
    for (std::int64_t i = 0; i < dim; ++i) words[i] = static_cast<std::int16_t>(row[i] / scales_[at] + kRound - kRound);
    for (std::int64_t i = 0; i < dim; ++i) bytes[i] = static_cast<std::int8_t>(words[i]), sums_[at] += words[i];
  }

  std::int64_t width_;
  std::vector<std::int8_t> bytes_;
  std::vector<std::int16_t> words_;
  std::vector<std::int32_t> sums_;
  std::vector<float> scales_;
};

Int8Table::Int8Table(const Int8Rows& rows)
    : held_{register_buffer("weight", rows.values.contiguous()),
            register_buffer("weight_scale", rows.scales.contiguous())},
      groups_(whole(rows.values.size(1), kInt8Columns)),
      packed_(pack(held_.values, groups_)) {}

torch::Tensor Int8Table::lookup(const torch::Tensor& ids) {
  return from_int8({held_.values.index_select(0, ids), held_.scales.index_select(0, ids)});
}

WalkOptions Int8Table::searching(const Queries& queries) const {
  WalkOptions options;
  options.fill = [this, &queries](torch::Tensor& tile, std::int64_t row, std::int64_t item) {
    const auto& functions = int8_functions();
    const std::int64_t count = tile.size(1);
    for (std::int64_t r = 0; r < tile.size(0); ++r)
      functions.scores(packed_.data() + item * groups_ * kInt8Columns, count, groups_, queries.at(row + r),
                       held_.scales.const_data_ptr<float>() + item, tile.data_ptr<float>() + r * count);
  };
  return options;
}

torch::Tensor Int8Table::own_logits(const Queries& queries, const torch::Tensor& targets) const {
  auto out = at::empty({queries.size()}, torch::kFloat32);
  const auto ids = targets.contiguous();
  for (std::int64_t r = 0; r < queries.size(); ++r) {
    const std::int64_t id = ids.const_data_ptr<std::int64_t>()[r];
    out.data_ptr<float>()[r] = queries.logit(r, held_.values.const_data_ptr<std::int8_t>() + id * dim(), dim(),
                                             held_.scales.const_data_ptr<float>()[id]);
  }
  return out;
}

TopKResult Int8Table::topk(const torch::Tensor& hidden, const TopKRequest& request) {
  const torch::NoGradGuard no_grad;
  const auto rows = hidden.contiguous();
  const Queries queries(rows, groups_);
  const auto own = request.targets.defined() ? own_logits(queries, request.targets) : torch::Tensor();
  return finish_topk(topk_in_part(rows, held_.values, request, own, searching(queries)), own);
}

RankResult Int8Table::rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                              const std::vector<std::int64_t>& seen_offsets,
                              const std::vector<std::int64_t>& seen_ids) {
  const torch::NoGradGuard no_grad;
  const auto rows = hidden.contiguous();
  const Queries queries(rows, groups_);
  const auto own = own_logits(queries, targets);
  const auto seen = padded_rows(seen_offsets, seen_ids, hidden.device());
  const auto counts = count_in_part(rows, held_.values, own, targets, seen, searching(queries));
  return {rank_of_counts(counts.all, own), seen.defined() ? rank_of_counts(counts.unseen, own) : torch::Tensor()};
}

}  // namespace decant::models
