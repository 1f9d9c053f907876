// T^2 KL(teacher || student) over k + 1 classes: the k stored items, and one bucket for all others. Both tails are
// log-sum-exps over the complement of the stored ids, so neither can come out negative.
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>

#include <limits>

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class KlTail : public SoftenedLoss {
 public:
  explicit KlTail(const TemperatureOptions& options) : SoftenedLoss(options, true) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = needs.rest_lse = needs.label_rest_lse = temperatures();
    needs.labels = needs.label_logits = true;
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto teacher = in.teacher.logits / t();
    const auto& teacher_rest = in.teacher.rest_lse.at(t());
    const auto teacher_full = at::logsumexp(teacher, 1).logaddexp(teacher_rest);
    const auto& student_full = in.student.full_lse.at(t());
    const auto log_q = teacher - teacher_full.unsqueeze(1);
    const auto log_p = in.student.label_logits / t() - student_full.unsqueeze(1);
    const auto head = (log_q.exp() * (log_q - log_p)).sum(1);
    // An empty complement on either side weighs nothing; its -inf must not meet the other in a subtraction.
    const auto empty = (teacher_rest == -kInfinity) | (in.student.rest_lse.at(t()) == -kInfinity);
    const auto log_q_tail = (teacher_rest - teacher_full).masked_fill(empty, 0);
    const auto log_p_tail = (in.student.rest_lse.at(t()) - student_full).masked_fill(empty, 0);
    const auto tail = log_q_tail.exp() * (log_q_tail - log_p_tail);
    return t() * t() * ((head + tail) * in.target_weights).sum();
  }

 private:
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
};

}  // namespace

void add_kl_tail(LossRegistry& registry) {
  registry.add<TemperatureOptions>("kl_tail", [](const TemperatureOptions& o) { return std::make_shared<KlTail>(o); });
}

}  // namespace decant::trainer
