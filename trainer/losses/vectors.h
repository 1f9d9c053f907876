// Losses between a tap of the student and the vectors of a hidden label set.
#pragma once

#include <torch/nn/modules/linear.h>

#include "trainer/losses/losses.h"

namespace decant::trainer {

struct VectorOptions : LabelLossOptions {
  VectorOptions() { labels = {"hidden"}; }
  std::string tap = "hidden";
  void describe(base::Fields& fields) override;
};

/// Of batch scope: which targets are compared with each other.
struct BatchVectorOptions : VectorOptions {
  std::string targets = "last";  // last | all
  void describe(base::Fields& fields) override;
};

/// One kind of label, one tap.
class VectorLoss : public Loss {
 public:
  explicit VectorLoss(const VectorOptions& options) : tap_(options.tap), sets_(options.labels) {}
  LossNeeds needs() const override;

 protected:
  [[nodiscard]] const std::string& tap() const { return tap_; }
  [[nodiscard]] const std::vector<std::string>& sets() const { return sets_; }
  /// Width of a label set's vectors. Throws ConfigError for a set that holds none.
  [[nodiscard]] static std::int64_t width_of(const LossContext& context, const std::string& set);

 private:
  std::string tap_;
  std::vector<std::string> sets_;
};

/// With a learned linear map from the tap to each set's vectors: "<set>.weight", "<set>.bias".
class ProjectedLoss : public VectorLoss {
 public:
  using VectorLoss::VectorLoss;
  void prepare(const LossContext& context) override;

 protected:
  [[nodiscard]] torch::Tensor projected(const LossInputs& in);

 private:
  std::map<std::string, torch::nn::Linear> maps_;
};

/// Of batch scope: `last` compares one target a row of the dataset, `all` every target of the step.
class TargetChoice {
 public:
  explicit TargetChoice(const std::string& targets) : last_(targets == "last") {}
  /// Indices of the targets taken.
  [[nodiscard]] torch::Tensor of(const LossInputs& in) const;
  /// Their weight.
  [[nodiscard]] double weight(const data::LabelledBatch& batch) const;

 private:
  bool last_;
};

/// Linear with first values uniform in 1 / sqrt(inputs), functions of (seed, name).
[[nodiscard]] torch::nn::Linear make_linear(std::int64_t inputs, std::int64_t outputs, std::uint64_t seed,
                                            const std::string& name);

/// Rows of length 1; a row of zeros stays one, without a gradient.
[[nodiscard]] torch::Tensor unit_rows(const torch::Tensor& rows);

}  // namespace decant::trainer
