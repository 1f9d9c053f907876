#include "trainer/labels/shares.h"

#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

namespace decant::trainer {
namespace {

using torch::Tensor;

/// Share of a row's ids that are in the other's row too, [targets]; of the shorter list.
Tensor overlap(const Tensor& a, const Tensor& b) {
  const auto sorted = std::get<0>(b.sort(1));
  const auto at = at::searchsorted(sorted, a.contiguous()).clamp_max(b.size(1) - 1);
  const auto common = ((sorted.gather(1, at) == a) & (a >= 0)).sum(1).to(torch::kFloat32);
  const auto fewer = (a >= 0).sum(1).minimum((b >= 0).sum(1)).clamp_min(1);
  return common / fewer;
}

/// [targets, sets] bool.
Tensor present_in(const std::vector<const TeacherLabels*>& sets, std::int64_t targets, torch::Device device) {
  std::vector<Tensor> columns;
  for (const auto* set : sets)
    columns.push_back(set->present.defined() ? set->present
                                             : at::ones({targets}, torch::TensorOptions(device).dtype(torch::kBool)));
  return at::stack(columns, 1);
}

/// [targets] mean overlap over the pairs of sets that both have a label; 1 where there is no such pair.
Tensor agreement(const std::vector<const TeacherLabels*>& sets, const Tensor& present) {
  auto sum = at::zeros({present.size(0)}, present.options().dtype(torch::kFloat32)), pairs = sum.clone();
  for (std::size_t a = 0; a < sets.size(); ++a)
    for (std::size_t b = a + 1; b < sets.size(); ++b) {
      if (!sets[a]->ids.defined() || !sets[b]->ids.defined())
        throw base::ConfigError("'sharing: disagreement' compares the ids of label sets, and one of them has none");
      const auto both =
          (present.select(1, static_cast<std::int64_t>(a)) & present.select(1, static_cast<std::int64_t>(b)))
              .to(torch::kFloat32);
      sum = sum + both * overlap(sets[a]->ids, sets[b]->ids);
      pairs = pairs + both;
    }
  return (sum / pairs.clamp_min(1)).masked_fill(pairs == 0, 1);
}

}  // namespace

Tensor teacher_cross_entropy(const TeacherLabels& labels) {
  const auto rest = labels.rest_lse.find(1.0);
  if (!labels.target_logit.defined() || !labels.logits.defined() || rest == labels.rest_lse.end())
    throw base::ConfigError(
        "'sharing: confidence' needs label sets with the target's logit and the rest at temperature 1 "
        "('labels.temperatures')");
  return at::logsumexp(labels.logits, 1).logaddexp(rest->second) - labels.target_logit;
}

Tensor label_shares(const std::vector<const TeacherLabels*>& sets, ShareRule rule, const std::vector<double>& factors,
                    std::int64_t targets, torch::Device device) {
  const auto present = present_in(sets, targets, device);
  auto weights = present.to(torch::kFloat32);
  if (rule == ShareRule::kConfidence) {
    std::vector<Tensor> columns;
    for (const auto* set : sets) columns.push_back(-teacher_cross_entropy(*set));
    const auto score = at::stack(columns, 1).masked_fill(~present, -1e30);  // not -inf: a row may have none
    weights = weights * score.softmax(1);
  }
  weights = weights * torch::tensor(factors, torch::kFloat32).to(device);
  weights = weights / weights.sum(1, true).clamp_min(1e-30);
  return rule == ShareRule::kDisagreement ? weights * agreement(sets, present).unsqueeze(1) : weights;
}

}  // namespace decant::trainer
