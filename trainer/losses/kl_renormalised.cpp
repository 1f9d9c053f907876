// T^2 KL(teacher || student) with both sides renormalised over the k stored items. Biased: it teaches nothing about
// the tail.
#include <ATen/ops/log_softmax.h>

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class KlRenormalised : public SoftenedLoss {
 public:
  explicit KlRenormalised(const TemperatureOptions& options) : SoftenedLoss(options, false) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.least_k = 2;
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto log_q = at::log_softmax(in.teacher.logits / t(), 1);
    const auto log_p = at::log_softmax(in.student.label_logits / t(), 1);
    return t() * t() * ((log_q.exp() * (log_q - log_p)).sum(1) * in.target_weights).sum();
  }
};

}  // namespace

void add_kl_renormalised(LossRegistry& registry) {
  registry.add<TemperatureOptions>("kl_renormalised",
                                   [](const TemperatureOptions& o) { return std::make_shared<KlRenormalised>(o); });
}

}  // namespace decant::trainer
