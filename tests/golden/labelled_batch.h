// A batch with labels from plain tensors, as the label store would give it.
#pragma once

#include <torch/types.h>

#include <vector>

#include "data/loader.h"
#include "tests/golden/golden_file.h"
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
  data::TopKLabels labels;
  labels.k = ids.size(1);
  labels.temperatures = temperatures;
  labels.ids = values_of<std::int64_t>(ids);
  const auto peak = logits.select(1, 0);
  const auto half = (logits - peak.unsqueeze(1)).to(torch::kFloat16).contiguous();
  const auto* bits = static_cast<const std::uint16_t*>(half.const_data_ptr());
  labels.logits_half.assign(bits, bits + half.numel());
  labels.peak = values_of<float>(peak);
  labels.rest_lse = values_of<float>(rest_lse - peak.unsqueeze(1) / torch::tensor(temperatures, torch::kFloat32));
  labels.target_logit.assign(labels.peak.size(), 0);
  labels.target_rank.assign(labels.peak.size(), 0);
  out.labels = std::move(labels);
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
