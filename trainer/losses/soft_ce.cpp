// T^2 times the cross-entropy of the teacher's distribution over k + 1 classes (the stored items, and one bucket for all
// others): the gradient of kl_tail; the value keeps the teacher's entropy.
#include <ATen/ops/logsumexp.h>

#include <limits>

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SoftCrossEntropy : public SoftenedLoss {
 public:
  explicit SoftCrossEntropy(const TemperatureOptions& options) : SoftenedLoss(options, true) {}
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
    const auto cross = [](const torch::Tensor& log_q, const torch::Tensor& log_p) {
      return -log_q.exp() * log_p.masked_fill((log_q == -kInfinity) | (log_p == -kInfinity), 0);
    };
    const auto head =
        cross(teacher - teacher_full.unsqueeze(1), in.student.label_logits / t() - student_full.unsqueeze(1)).sum(1);
    const auto tail = cross(teacher_rest - teacher_full, in.student.rest_lse.at(t()) - student_full);
    return t() * t() * ((head + tail) * in.target_weights).sum();
  }
};

}  // namespace

void add_soft_ce(LossRegistry& registry) {
  registry.add<TemperatureOptions>("soft_ce",
                                   [](const TemperatureOptions& o) { return std::make_shared<SoftCrossEntropy>(o); });
}

}  // namespace decant::trainer
