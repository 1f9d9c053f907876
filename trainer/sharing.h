// How several label sets share a target: weights that sum to 1 over the sets that have a label of it.
#pragma once

#include <torch/nn/module.h>

#include "trainer/loss.h"

namespace decant::trainer {

/// A label set's name -> its labels, of the targets of one batch.
using LabelSets = std::map<std::string, TeacherLabels>;

class Sharing : public torch::nn::Module {
 public:
  /// Throws ConfigError when `options.shares` does not fit the sets.
  explicit Sharing(const LabelLossOptions& options);
  /// [targets, sets] in the order of the options' `labels`; 0 where a set has no label.
  [[nodiscard]] torch::Tensor shares(const LabelSets& labels, std::int64_t targets, torch::Device device) const;

 private:
  std::vector<std::string> sets_;
  std::vector<double> fixed_;
};

}  // namespace decant::trainer
