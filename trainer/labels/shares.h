// How several teachers share a target.
#pragma once

#include <string>
#include <vector>

#include "trainer/loss.h"

namespace decant::trainer {

/// fixed: by `factors`. confidence: by `factors` times the softmax of minus the teachers' cross-entropies on what came
/// (after CA-MKD, Zhang et al. 2022); needs each set's target_logit and rest_lse at T = 1. Both sum to 1 over the sets
/// that have a label of the target. disagreement: fixed, times how much the sets' ids agree on the target (share of common
/// ids, mean over pairs), so that a target its teachers disagree on weighs less.
enum class ShareRule { kFixed, kConfidence, kDisagreement };

/// Weights [targets, sets] float32, 0 where a set has no label. REQUIRES: one factor a set, their sum above 0.
[[nodiscard]] torch::Tensor label_shares(const std::vector<const TeacherLabels*>& sets, ShareRule rule,
                                         const std::vector<double>& factors, std::int64_t targets,
                                         torch::Device device);

/// Cross-entropy at T = 1 of a teacher on what came, [targets]. Throws ConfigError when the set cannot tell.
[[nodiscard]] torch::Tensor teacher_cross_entropy(const TeacherLabels& labels);

}  // namespace decant::trainer
