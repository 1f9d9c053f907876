// T^2 KL(teacher || student): the teacher renormalised over its stored items, the student normalised over the whole
// catalogue. Biased towards an empty tail. The other directions would be infinite, or blind to the tail.
#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

class KlTruncated : public SoftenedLoss {
 public:
  explicit KlTruncated(const TemperatureOptions& options) : SoftenedLoss(options, false), divergence_({}) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = temperatures();
    needs.labels = needs.label_logits = true;
    needs.label_kinds = {"topk", "top_p", "dense"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto log_q = log_shares(in.teacher.logits / t());
    const auto log_p = in.student.label_logits / t() - in.student.full_lse.at(t()).unsqueeze(1);
    return t() * t() * (divergence_.terms(log_q, log_p).sum(1) * in.target_weights).sum();
  }

 private:
  Divergence divergence_;
};

}  // namespace

void add_kl_truncated(LossRegistry& registry) {
  registry.add<TemperatureOptions>("kl_truncated",
                                   [](const TemperatureOptions& o) { return std::make_shared<KlTruncated>(o); });
}

}  // namespace decant::trainer
