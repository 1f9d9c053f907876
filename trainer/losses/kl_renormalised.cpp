// T^2 times a divergence with both sides renormalised over the stored items. Biased: it teaches nothing about the tail.
#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

class KlRenormalised : public SoftenedLoss {
 public:
  explicit KlRenormalised(const DivergenceOptions& options) : SoftenedLoss(options, false), divergence_(options) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.least_k = 2;
    needs.label_kinds = {"topk", "top_p", "dense"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto log_q = log_shares(in.teacher.logits / t()), log_p = log_shares(in.student.label_logits / t());
    return t() * t() * (divergence_.terms(log_q, log_p).sum(1) * in.target_weights).sum();
  }

 private:
  Divergence divergence_;
};

}  // namespace

void add_kl_renormalised(LossRegistry& registry) {
  registry.add<DivergenceOptions>("kl_renormalised",
                                  [](const DivergenceOptions& o) { return std::make_shared<KlRenormalised>(o); });
}

}  // namespace decant::trainer
