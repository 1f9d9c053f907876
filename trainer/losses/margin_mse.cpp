// Mean over the label's items but the target of ((s_y - s_j) - (t_y - t_j))^2 (Hofstaetter et al. 2020): how far the
// target stands above each of the others, as in the teacher.
#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class MarginMse : public Loss {
 public:
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = needs.target_logits = needs.label_target_logit = true;
    needs.least_k = 2;
    needs.label_kinds = {"topk", "top_p", "dense", "candidates"};
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto none = (in.teacher.ids < 0) | (in.teacher.ids == in.target_ids.unsqueeze(1));
    const auto student = in.student.target_logits.unsqueeze(1) - in.student.label_logits.masked_fill(none, 0);
    const auto teacher = in.teacher.target_logit.unsqueeze(1) - in.teacher.logits.masked_fill(none, 0);
    const auto gap = (student - teacher).masked_fill(none, 0).square().sum(1);
    return (gap / (~none).sum(1).clamp_min(1) * in.target_weights).sum();
  }
};

}  // namespace

void add_margin_mse(LossRegistry& registry) {
  registry.add<LabelLossOptions>("margin_mse", [](const LabelLossOptions&) { return std::make_shared<MarginMse>(); });
}

}  // namespace decant::trainer
