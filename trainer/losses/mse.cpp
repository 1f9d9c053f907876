// Mean over the stored items of the squared difference of logits, each side centred on its mean over those items (a
// softmax does not see a shift). With labels of the dense kind: over the whole catalogue. No temperature; one item has
// no difference, so k = 1 is refused.

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class LogitMse : public Loss {
 public:
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.least_k = 2;
    needs.label_kinds = {"topk", "top_p", "dense", "candidates"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto none = in.teacher.ids < 0;
    const auto count = (~none).sum(1, true).clamp_min(1);
    const auto centred = [&](const torch::Tensor& logits) {
      const auto z = logits.masked_fill(none, 0);
      return (z - z.sum(1, true) / count).masked_fill(none, 0);
    };
    const auto gap = centred(in.student.label_logits) - centred(in.teacher.logits);
    return (gap.square().sum(1, true) / count * in.target_weights.unsqueeze(1)).sum();
  }
};

}  // namespace

void add_mse(LossRegistry& registry) {
  registry.add<LabelLossOptions>("mse", [](const LabelLossOptions&) { return std::make_shared<LogitMse>(); });
}

}  // namespace decant::trainer
