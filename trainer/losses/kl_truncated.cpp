// T^2 KL(teacher || student): the teacher renormalised over its k stored items, the student normalised over the whole
// catalogue. Biased towards an empty tail.
#include <ATen/ops/log_softmax.h>

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class KlTruncated : public SoftenedLoss {
 public:
  explicit KlTruncated(const TemperatureOptions& options) : SoftenedLoss(options, false) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = temperatures();
    needs.labels = needs.label_logits = true;
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto log_q = at::log_softmax(in.teacher.logits / t(), 1);
    const auto log_p = in.student.label_logits / t() - in.student.full_lse.at(t()).unsqueeze(1);
    return t() * t() * ((log_q.exp() * (log_q - log_p)).sum(1) * in.target_weights).sum();
  }
};

}  // namespace

void add_kl_truncated(LossRegistry& registry) {
  registry.add<TemperatureOptions>("kl_truncated",
                                   [](const TemperatureOptions& o) { return std::make_shared<KlTruncated>(o); });
}

}  // namespace decant::trainer
