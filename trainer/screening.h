// Labels that are not to be trusted: they contradict the observed item, or know it by heart.
#pragma once

#include <cstdint>

#include "trainer/loss.h"
#include "trainer/recipe_options.h"

namespace decant::trainer {

/// Targets of the label sets that losses read, counted a set.
struct ScreenedCounts {
  std::int64_t labels = 0, contradicting = 0, over_confident = 0;
};

/// [targets] float32: what a label weighs, 1 or `options.keep`, by the teacher's probability of the observed item at
/// T = 1 and by its place among the ids. REQUIRES: ids in descending order of logit, target_logit, and for
/// probabilities rest_lse at 1. Targets without a label count for nothing. `counts` grows.
[[nodiscard]] torch::Tensor trust_in(const TeacherLabels& labels, const torch::Tensor& target_ids,
                                     const ScreeningOptions& options, ScreenedCounts& counts);

}  // namespace decant::trainer
