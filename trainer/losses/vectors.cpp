#include "trainer/losses/vectors.h"

#include <ATen/ops/arange.h>

#include <cmath>

#include "models/initial.h"
#include "trainer/scoring.h"

namespace decant::trainer {

void VectorOptions::describe(base::Fields& fields) {
  LabelLossOptions::describe(fields);
  fields.text("tap", tap, "of the student; hidden: the row that is scored");
}

void BatchVectorOptions::describe(base::Fields& fields) {
  VectorOptions::describe(fields);
  fields.text("targets", targets, "which are compared: the last of every row of the step, or all", {"last", "all"});
}

LossNeeds VectorLoss::needs() const {
  LossNeeds needs;
  needs.labels = true;
  needs.label_kinds = {"hidden"};
  needs.taps = {tap_};
  return needs;
}

std::int64_t VectorLoss::width_of(const LossContext& context, const std::string& set) {
  const auto at = context.vector_widths.find(set);
  if (at == context.vector_widths.end())
    throw base::ConfigError("label set '" + set + "' holds no vectors: it must be of kind hidden");
  return at->second;
}

void ProjectedLoss::prepare(const LossContext& context) {
  for (const auto& set : sets()) {
    const auto map = make_linear(context.tap_widths.at(tap()), width_of(context, set), context.seed, set);
    maps_.emplace(set, register_module(set, map));
  }
}

torch::Tensor ProjectedLoss::projected(const LossInputs& in) { return maps_.at(in.set)->forward(in.taps.at(tap())); }

torch::Tensor TargetChoice::of(const LossInputs& in) const {
  return last_ ? in.is_last.nonzero().squeeze(1) : at::arange(in.is_last.size(0), in.target_ids.options());
}

double TargetChoice::weight(const data::LabelledBatch& batch) const {
  const auto rows = rows_of_targets(batch.batch);
  double sum = 0;
  for (std::size_t t = 0; t < rows.size(); ++t)
    if (!last_ || t + 1 == rows.size() || rows[t + 1] != rows[t]) sum += batch.batch.target_weights[t];
  return sum;
}

torch::nn::Linear make_linear(std::int64_t inputs, std::int64_t outputs, std::uint64_t seed, const std::string& name) {
  torch::nn::Linear map(inputs, outputs);
  const torch::NoGradGuard no_grad;
  const double bound = 1 / std::sqrt(static_cast<double>(inputs));
  map->weight.copy_(models::initial_uniform({outputs, inputs}, bound, seed, "loss." + name + ".weight"));
  map->bias.copy_(models::initial_uniform({outputs}, bound, seed, "loss." + name + ".bias"));
  return map;
}

torch::Tensor unit_rows(const torch::Tensor& rows) {
  const auto squares = rows.square().sum(1, true);
  const auto none = squares < 1e-24;
  return rows.masked_fill(none, 0) * squares.masked_fill(none, 1).rsqrt();
}

}  // namespace decant::trainer
