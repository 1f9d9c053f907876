// Cross-entropy of the observed next item against the whole catalogue.
#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class CrossEntropy : public Loss {
 public:
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = {1.0};
    needs.target_logits = true;
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    return ((in.student.full_lse.at(1.0) - in.student.target_logits) * in.target_weights).sum();
  }
};

}  // namespace

void add_ce(LossRegistry& registry) {
  registry.add<LossOptions>("ce", [](const LossOptions&) { return std::make_shared<CrossEntropy>(); });
}

}  // namespace decant::trainer
