// T^2 times a divergence over k + 1 classes: the stored items, and one bucket for all others. Both tails are
// log-sum-exps over the complement of the stored ids, so neither can come out negative.
#include <ATen/ops/logsumexp.h>

#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

class KlTail : public SoftenedLoss {
 public:
  explicit KlTail(const DivergenceOptions& options) : SoftenedLoss(options, true), divergence_(options) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = needs.rest_lse = needs.label_rest_lse = temperatures();
    needs.labels = needs.label_logits = true;
    needs.label_kinds = {"topk", "top_p", "dense"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto teacher = in.teacher.logits / t();
    const auto& teacher_rest = in.teacher.rest_lse.at(t());
    const auto teacher_full = at::logsumexp(teacher, 1).logaddexp(teacher_rest);
    const auto& student_full = in.student.full_lse.at(t());
    const auto log_q = teacher - teacher_full.unsqueeze(1);
    const auto log_p = in.student.label_logits / t() - student_full.unsqueeze(1);
    const auto head = divergence_.terms(log_q, log_p).sum(1);
    // An empty complement on either side weighs nothing.
    const auto tail = divergence_.terms(teacher_rest - teacher_full, in.student.rest_lse.at(t()) - student_full);
    return t() * t() * ((head + tail) * in.target_weights).sum();
  }

 private:
  Divergence divergence_;
};

}  // namespace

void add_kl_tail(LossRegistry& registry) {
  registry.add<DivergenceOptions>("kl_tail", [](const DivergenceOptions& o) { return std::make_shared<KlTail>(o); });
}

}  // namespace decant::trainer
