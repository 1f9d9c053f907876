// A batch with labels from plain tensors, as the label store would give it.
#pragma once

#include <torch/types.h>

#include <limits>
#include <vector>

#include "data/loader.h"
#include "tests/golden/golden_file.h"
#include "trainer/labels/columns.h"
#include "trainer/loss.h"

namespace decant::golden {

/// targets [n] int64, weights [n], ids [n, k] descending by teacher_logits [n, k], rest_lse [n, temperatures]. The
/// logits are rounded to fp16 relative to each row's first, as they are on disk.
inline data::LabelledBatch labelled_batch(const torch::Tensor& targets, const torch::Tensor& weights,
                                          const torch::Tensor& ids, const torch::Tensor& logits,
                                          const torch::Tensor& rest_lse, const std::vector<double>& temperatures) {
  data::LabelledBatch out;
  out.batch.target_ids = values_of<std::int64_t>(targets);
  out.batch.target_weights = values_of<float>(weights);
  for (std::int64_t t = 0; t < targets.size(0); ++t) {
    out.batch.target_tokens.push_back(t);
    out.batch.sample_ids.push_back(t);
    out.batch.offsets.push_back(t);
  }
  out.batch.offsets.push_back(targets.size(0));
  data::LabelSpec spec;
  spec.kind = "topk";
  spec.items = std::numeric_limits<std::int32_t>::max();
  spec.options = {{"k", ids.size(1)}, {"temperatures", temperatures}};
  spec.columns = {{"ids", data::Element::kU32, ids.size(1)},
                  {"logits", data::Element::kF16, ids.size(1)},
                  {"peak", data::Element::kF32, 1},
                  {"rest_lse", data::Element::kF32, rest_lse.size(1)},
                  {"target_logit", data::Element::kF32, 1}};
  data::LabelRows labels(std::make_shared<const data::LabelSpec>(spec));
  labels.targets = targets.size(0);
  trainer::set_scores(labels, ids, logits, rest_lse, temperatures);
  trainer::set_column(labels, "target_logit", torch::zeros({labels.targets}));
  out.labels.emplace("teacher", std::move(labels));
  return out;
}

/// Puts the unrounded labels in the place of those that came through fp16.
inline void use_exact(trainer::TeacherLabels& labels, const torch::Tensor& logits, const torch::Tensor& rest_lse,
                      const std::vector<double>& temperatures) {
  labels.logits = logits;
  for (std::size_t t = 0; t < temperatures.size(); ++t)
    if (const auto at = labels.rest_lse.find(temperatures[t]); at != labels.rest_lse.end())
      at->second = rest_lse.select(1, static_cast<std::int64_t>(t));
}

}  // namespace decant::golden
