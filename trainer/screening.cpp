#include "trainer/screening.h"

#include <ATen/ops/full_like.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

namespace decant::trainer {

torch::Tensor trust_in(const TeacherLabels& labels, const torch::Tensor& target_ids, const ScreeningOptions& options,
                       ScreenedCounts& counts) {
  const torch::NoGradGuard no_grad;
  const auto& own = labels.target_logit;
  const auto present =
      labels.present.defined() ? labels.present : at::ones_like(own, own.options().dtype(torch::kBool));
  auto contradicting = at::zeros_like(present), over_confident = at::zeros_like(present);
  if (options.by_probability()) {
    const auto full = at::logsumexp(labels.logits, 1).logaddexp(labels.rest_lse.at(1.0));
    const auto probability = (own - full).exp();
    if (options.least_probability > 0) contradicting |= probability < options.least_probability;
    if (options.most_probability < 1) over_confident |= probability > options.most_probability;
  }
  if (options.most_rank > 0) {
    const auto best = labels.ids.narrow(1, 0, std::min(options.most_rank, labels.ids.size(1)));
    contradicting |= (best == target_ids.unsqueeze(1)).any(1).logical_not();
  }
  contradicting &= present;
  over_confident &= present & contradicting.logical_not();
  counts.labels += present.sum().item<std::int64_t>();
  counts.contradicting += contradicting.sum().item<std::int64_t>();
  counts.over_confident += over_confident.sum().item<std::int64_t>();
  const auto one = at::ones_like(own);
  return at::where(contradicting | over_confident, at::full_like(own, options.keep), one);
}

}  // namespace decant::trainer
