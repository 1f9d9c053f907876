// Mean over the k stored items of the squared difference of logits, each side centred on its mean over those items
// (a softmax does not see a shift). No temperature; one item has no difference, so k = 1 is refused.
#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class LogitMse : public Loss {
 public:
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.least_k = 2;
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto centred = [](const torch::Tensor& z) { return z - z.mean(1, true); };
    const auto gap = centred(in.student.label_logits) - centred(in.teacher.logits);
    return (gap.square().mean(1) * in.target_weights).sum();
  }
};

}  // namespace

void add_mse(LossRegistry& registry) {
  registry.add<LabelLossOptions>("mse", [](const LabelLossOptions&) { return std::make_shared<LogitMse>(); });
}

}  // namespace decant::trainer
