// Losses: plain autograd on small tensors that one walk over the catalogue has prepared. One file and one row each.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/registry.h"
#include "data/loader.h"

namespace decant::trainer {

/// What a loss asks the step for. The step takes the union over all losses and serves it by one walk.
struct LossNeeds {
  std::vector<double> full_lse;  // temperatures T: log-sum-exp of logits/T over the whole catalogue
  std::vector<double> rest_lse;  // the same over the items outside the stored top-k ids
  bool target_logits = false;
  bool label_logits = false;           // the student's logits of the stored ids
  bool labels = false;                 // top-k labels; a loss with labels is dropped from the control
  std::vector<double> label_rest_lse;  // temperatures at which the labels' own rest_lse is needed
  std::int64_t least_k = 1;            // with labels: the fewest stored ids it can work with
};

/// Teacher's side, float32 on the student's device, detached.
struct TeacherLabels {
  torch::Tensor ids;                         // [targets, k] int64
  torch::Tensor logits;                      // [targets, k] raw
  std::map<double, torch::Tensor> rest_lse;  // T -> [targets] absolute; -inf when the complement is empty
};

/// Student's side; only what was asked for is defined. All [targets] or [targets, k], float32, differentiable.
struct StudentScores {
  torch::Tensor target_logits;
  torch::Tensor label_logits;
  std::map<double, torch::Tensor> full_lse, rest_lse;
};

struct LossInputs {
  torch::Tensor target_weights;  // [targets]
  StudentScores student;
  TeacherLabels teacher;  // empty tensors when nobody needs labels
};

struct LossOptions : base::Options {
  double weight = 1;
  void describe(base::Fields& fields) override;
};

/// Returns sums, never means: the step divides by the weights of the whole step over all ranks. Parameters of a loss
/// (projections) are optimised and checkpointed, and dropped at export.
class Loss : public torch::nn::Module {
 public:
  [[nodiscard]] virtual LossNeeds needs() const = 0;
  /// Sum over targets of weight times loss, [] float32.
  [[nodiscard]] virtual torch::Tensor sum(const LossInputs& inputs) = 0;
  /// What the step's sum is divided by, of this micro-batch; asked before any forward. Default: the target weights.
  [[nodiscard]] virtual double weight(const data::LabelledBatch& batch) const;
};

using LossRegistry = base::Registry<Loss>;

/// Adds decant's own losses: ce, kl_tail, kl_renormalised, kl_truncated, mse (docs/losses.md).
void register_losses(LossRegistry& registry);

}  // namespace decant::trainer
