#include "trainer/losses/divergence.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>

#include <cmath>
#include <limits>

namespace decant::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

void DivergenceOptions::describe(base::Fields& fields) {
  TemperatureOptions::describe(fields);
  fields.text("direction", direction, "forward: KL(teacher || student); reverse: KL(student || teacher)",
              {"forward", "reverse", "jsd"});
  fields.real("beta", beta, {1e-6, 1 - 1e-6}, "jsd: the teacher's share of the mixture");
  fields.flag("scaled", scaled, "jsd: divide by beta (1 - beta)");
}

Divergence::Divergence(const DivergenceOptions& options)
    : direction_(options.direction),
      beta_(options.beta),
      scale_(options.scaled ? 1 / (options.beta * (1 - options.beta)) : 1) {}

torch::Tensor Divergence::terms(const torch::Tensor& log_q, const torch::Tensor& log_p) const {
  const auto none = (log_q == -kInfinity) | (log_p == -kInfinity);
  const auto q = log_q.masked_fill(none, 0), p = log_p.masked_fill(none, 0);
  if (direction_ == "forward") return q.exp() * (q - p);
  if (direction_ == "reverse") return p.exp() * (p - q);
  const auto m = (q + std::log(beta_)).logaddexp(p + std::log1p(-beta_));
  const auto both = beta_ * q.exp() * (q - m) + (1 - beta_) * p.exp() * (p - m);
  return scale_ * both.masked_fill(none, 0);
}

torch::Tensor log_shares(const torch::Tensor& logits) {
  const auto none = logits == -kInfinity;
  const auto empty = none.all(1, true);
  return at::log_softmax(logits.masked_fill(empty, 0), 1).masked_fill(none, -kInfinity);
}

torch::Tensor log_sum(const torch::Tensor& logits) {
  const auto empty = (logits == -kInfinity).all(1);
  return at::logsumexp(logits.masked_fill(empty.unsqueeze(1), 0), 1).masked_fill(empty, -kInfinity);
}

}  // namespace decant::trainer
