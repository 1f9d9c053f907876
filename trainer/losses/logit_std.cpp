// T^2 times a divergence over the stored items of logits standardised by their row's mean and deviation over the whole
// catalogue (Sun, Ren, Li, Wang, Cao 2024): scale and shift of the teacher need not be met, only the shape.
#include <limits>

#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class StandardisedLogits : public SoftenedLoss {
 public:
  explicit StandardisedLogits(const DivergenceOptions& options) : SoftenedLoss(options, false), divergence_(options) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = needs.label_moments = needs.moments = true;
    needs.least_k = 2;
    needs.label_kinds = {"topk", "top_p", "dense"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto none = in.teacher.ids < 0;  // their -inf must not meet the deviation's gradient
    // Equal logits have no deviation: they stay 0, and teach nothing.
    const auto standard = [&](const torch::Tensor& z, const torch::Tensor& mean, const torch::Tensor& variance) {
      const auto flat = variance < 1e-12;
      const auto scale = (variance.masked_fill(flat, 1).rsqrt() / t()).masked_fill(flat, 0).unsqueeze(1);
      return ((z.masked_fill(none, 0) - mean.unsqueeze(1)) * scale).masked_fill(none, -kInfinity);
    };
    const auto log_q = log_shares(standard(in.teacher.logits, in.teacher.logit_mean, in.teacher.logit_variance));
    const auto log_p = log_shares(standard(in.student.label_logits, in.student.logit_mean, in.student.logit_variance));
    return t() * t() * (divergence_.terms(log_q, log_p).sum(1) * in.target_weights).sum();
  }

 private:
  Divergence divergence_;
};

}  // namespace

void add_logit_std(LossRegistry& registry) {
  registry.add<DivergenceOptions>("logit_std",
                                  [](const DivergenceOptions& o) { return std::make_shared<StandardisedLogits>(o); });
}

}  // namespace decant::trainer
