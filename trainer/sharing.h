// How several label sets share a target: weights that sum to 1 over the sets that have a label of it, but where teachers
// that disagree are to weigh less.
#pragma once

#include <torch/nn/modules/linear.h>

#include "trainer/labels/shares.h"
#include "trainer/loss.h"

namespace decant::trainer {

/// A label set's name -> its labels, of the targets of one batch.
using LabelSets = std::map<std::string, TeacherLabels>;

/// fixed, confidence, disagreement: as label_shares makes them of the options' shares. gate: softmax of a linear map of the student's scored row, after gated ensembles of
/// teachers (Zhu et al. 2020); the map learns from the cross-entropy of the gated mixture of the teachers' own
/// probabilities of the target, and from nothing else.
class Sharing : public torch::nn::Module {
 public:
  /// Throws ConfigError when `options.shares` does not fit the sets.
  explicit Sharing(const LabelLossOptions& options);
  /// Makes the gate's map, equal shares at first.
  void prepare(const LossContext& context);
  /// Temperatures at which every set's rest_lse is needed.
  [[nodiscard]] std::vector<double> label_rest_lse() const;
  [[nodiscard]] bool learns() const { return gated_; }
  /// Whether it looks at the teachers' logits of the target, or at which ids they have.
  [[nodiscard]] bool by_target() const { return gated_ || rule_ == ShareRule::kConfidence; }
  [[nodiscard]] bool by_ids() const { return rule_ == ShareRule::kDisagreement; }

  struct Shares {
    torch::Tensor weights;    // [targets, sets] in the order of the options' `labels`, detached; 0: no label
    torch::Tensor objective;  // [] sum over targets of weight times what the gate learns from; undefined without one
  };
  /// hidden [targets, d], target_weights [targets].
  [[nodiscard]] Shares shares(const LabelSets& labels, const torch::Tensor& hidden,
                              const torch::Tensor& target_weights);

 private:
  [[nodiscard]] torch::Tensor present(const LabelSets& labels, const torch::Tensor& like) const;
  std::vector<std::string> sets_;
  std::vector<double> fixed_;
  ShareRule rule_;
  bool gated_;
  torch::nn::Linear gate_{nullptr};
};

}  // namespace decant::trainer
