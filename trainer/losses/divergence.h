// Differences of two distributions by class, from log-probabilities: q of the teacher, p of the student.
#pragma once

#include "trainer/losses/losses.h"

namespace decant::trainer {

struct DivergenceOptions : TemperatureOptions {
  std::string direction = "forward";  // forward | reverse | jsd
  double beta = 0.5;
  bool scaled = false;
  void describe(base::Fields& fields) override;
};

/// forward: q (log q - log p); reverse: p (log p - log q); jsd (Agarwal et al. 2024, GKD): with m = beta q + (1 - beta) p,
/// beta q (log q - log m) + (1 - beta) p (log p - log m), by option divided by beta (1 - beta), which tends to forward
/// at beta = 0 and to reverse at 1. Sum over the classes of a row is the divergence.
class Divergence {
 public:
  explicit Divergence(const DivergenceOptions& options);
  /// Of equal shapes. A class of which either side has nothing (-inf) adds 0.
  [[nodiscard]] torch::Tensor terms(const torch::Tensor& log_q, const torch::Tensor& log_p) const;

 private:
  std::string direction_;
  double beta_, scale_;
};

/// log-probabilities over the entries of each row that are not -inf; a row of nothing but -inf stays one.
[[nodiscard]] torch::Tensor log_shares(const torch::Tensor& logits);

/// log-sum-exp over the columns; -inf, and no gradient, where every entry is.
[[nodiscard]] torch::Tensor log_sum(const torch::Tensor& logits);

}  // namespace decant::trainer
