#include "trainer/labels/columns.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/floor_divide.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>

#include <algorithm>

#include "base/random.h"
#include "trainer/errors.h"
#include "trainer/scoring.h"

namespace decant::trainer {
namespace {

torch::ScalarType scalar_of(data::Element element) {
  switch (element) {
    case data::Element::kU32:
      return torch::kInt32;
    case data::Element::kF16:
      return torch::kFloat16;
    case data::Element::kBf16:
      return torch::kBFloat16;
    default:
      return torch::kFloat32;
  }
}

bool has_column(const data::LabelSpec& spec, const std::string& name) {
  return std::any_of(spec.columns.begin(), spec.columns.end(), [&](const auto& column) { return column.name == name; });
}

}  // namespace

void RestOptions::describe(base::Fields& fields) {
  fields.reals("temperatures", temperatures, {0.05, 100}, "at which the log-sum-exp of all other items is stored");
}

void set_column(data::LabelRows& out, const std::string& name, const torch::Tensor& values) {
  const std::size_t at = out.spec->column(name);
  const auto host = values.detach().cpu().contiguous();
  const auto stored = host.to(scalar_of(out.spec->columns[at].element));
  if (stored.is_floating_point() && stored.dtype() != host.dtype() &&
      (stored.isinf() & host.isfinite()).any().item<bool>())
    throw NumericError("a value of the labels' column '" + name +
                       "' is too large for 'labels.dtype'; use fp32 or bf16");
  const auto* bytes = static_cast<const std::byte*>(stored.const_data_ptr());
  out.columns[at].assign(bytes, bytes + stored.nbytes());
}

torch::Tensor get_column(const data::LabelRows& rows, const std::string& name, torch::Device device) {
  if (!has_column(*rows.spec, name)) return {};
  const std::size_t at = rows.spec->column(name);
  const auto& column = rows.spec->columns[at];
  auto view = torch::from_blob(const_cast<std::byte*>(rows.columns[at].data()), {rows.targets, column.width},
                               scalar_of(column.element));
  if (column.width == 1 && name != data::kIdsColumn && name != "logits" && name != "vectors" && name != "rest_lse")
    view = view.select(1, 0);
  return put(view.to(column.element == data::Element::kU32 ? torch::kInt64 : torch::kFloat32), device);
}

std::vector<data::LabelColumn> score_columns() {
  std::vector<data::LabelColumn> columns;
  for (const char* name : {"peak", "target_logit", "target_rank", "logit_mean", "logit_variance"})
    columns.push_back({name, data::Element::kF32, 1});
  return columns;
}

void set_scores(data::LabelRows& out, const torch::Tensor& ids, const torch::Tensor& logits,
                const torch::Tensor& rest_lse, const std::vector<double>& temperatures) {
  const auto peak = std::get<0>(logits.max(1));
  if (ids.defined()) set_column(out, "ids", ids);
  set_column(out, "logits", logits - peak.unsqueeze(1));
  set_column(out, "peak", peak);
  if (temperatures.empty()) return;
  const auto by = at::tensor(temperatures, peak.options());
  set_column(out, "rest_lse", rest_lse - peak.unsqueeze(1) / by);
}

void set_moments(data::LabelRows& out, const TeacherBlock& block) {
  const auto moments = block.spread != nullptr ? block.spread->of(block.hidden) : block.table->moments(block.hidden);
  set_column(out, "logit_mean", moments.mean);
  set_column(out, "logit_variance", moments.variance);
}

TeacherLabels decode_scores(const data::LabelRows& rows, const std::vector<double>& stored,
                            const std::set<double>& temperatures, torch::Device device) {
  TeacherLabels labels;
  if (!rows.present.empty())
    labels.present = put(torch::from_blob(const_cast<std::uint8_t*>(rows.present.data()), {rows.targets}, torch::kUInt8)
                             .to(torch::kBool),
                         device);
  labels.ids = get_column(rows, "ids", device);
  labels.logits = get_column(rows, "logits", device);
  const auto peak = get_column(rows, "peak", device);
  if (peak.defined() && labels.logits.defined()) labels.logits = labels.logits + peak.unsqueeze(1);
  if (labels.ids.defined() && labels.logits.defined())
    labels.logits = labels.logits.masked_fill(labels.ids < 0, -std::numeric_limits<float>::infinity());
  if (const auto rest = get_column(rows, "rest_lse", device); rest.defined())
    for (const double t : temperatures) {
      const auto at = std::find(stored.begin(), stored.end(), t);
      if (at == stored.end()) continue;
      const auto column = rest.select(1, at - stored.begin());
      labels.rest_lse[t] = peak.defined() ? column + peak / t : column;
    }
  labels.target_logit = get_column(rows, "target_logit", device);
  labels.logit_mean = get_column(rows, "logit_mean", device);
  labels.logit_variance = get_column(rows, "logit_variance", device);
  return labels;
}

std::vector<data::LabelColumn> KindWithRest::columns(const LabelShape& shape) const {
  const std::int64_t width = std::min(most_, shape.dataset.info().items);
  std::vector<data::LabelColumn> columns{{"ids", data::Element::kU32, width}, {"logits", shape.values, width}};
  if (!temperatures_.empty())
    columns.push_back({"rest_lse", data::Element::kF32, static_cast<std::int64_t>(temperatures_.size())});
  const auto scores = score_columns();
  columns.insert(columns.end(), scores.begin(), scores.end());
  return columns;
}

TeacherLabels KindWithRest::decode(const data::LabelRows& rows, const std::set<double>& temperatures,
                                   torch::Device device) const {
  return decode_scores(rows, temperatures_, temperatures, device);
}

bool KindWithRest::has_rest(double t) const {
  return std::find(temperatures_.begin(), temperatures_.end(), t) != temperatures_.end();
}

void check_finite(const TeacherBlock& block, const torch::Tensor& scores) {
  if (scores.isfinite().all().item<bool>()) return;
  throw NumericError("the teacher's scores of rows " + std::to_string(block.first_row) + " to " +
                     std::to_string(block.last_row) + " are not finite");
}

void for_each_logits(const TeacherBlock& block,
                     const std::function<void(std::int64_t first, const torch::Tensor& logits)>& visit) {
  constexpr std::int64_t kAtOnce = 1 << 22;
  const std::int64_t items = block.table->items(), targets = block.hidden.size(0);
  const auto all = at::arange(items, block.hidden.options().dtype(torch::kInt64));
  const std::int64_t run = std::clamp<std::int64_t>(kAtOnce / items, 1, std::max<std::int64_t>(1, targets));
  for (std::int64_t first = 0; first < targets; first += run) {
    const auto logits = block.table->logits_of(block.hidden.narrow(0, first, std::min(run, targets - first)), all);
    check_finite(block, logits);
    visit(first, logits);
  }
}

torch::Tensor rank_among(const torch::Tensor& logits, const torch::Tensor& targets) {
  const auto own = logits.gather(1, targets.unsqueeze(1));
  return (logits > own).sum(1).add(at::floor_divide((logits == own).sum(1) - 1, 2)).to(torch::kFloat32);
}

std::vector<std::uint64_t> target_keys(const data::PackedBatch& batch, std::uint64_t seed) {
  std::vector<std::uint64_t> keys;
  std::size_t row = 0;
  for (const auto token : batch.target_tokens) {
    while (token >= batch.offsets[row + 1]) ++row;
    const auto place = batch.window_starts[row] + token - batch.offsets[row];
    keys.push_back(base::key_of(seed, static_cast<std::uint64_t>(batch.sample_ids[row]), place));
  }
  return keys;
}

}  // namespace decant::trainer
