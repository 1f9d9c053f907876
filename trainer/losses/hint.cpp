// FitNets hint (Romero et al. 2015): mean over dimensions of the squared difference between the teacher's vector and a
// learned linear map of the student's.
#include "trainer/losses/vectors.h"

namespace decant::trainer {
namespace {

class Hint : public ProjectedLoss {
 public:
  using ProjectedLoss::ProjectedLoss;
  torch::Tensor sum(const LossInputs& in) override {
    return ((projected(in) - in.teacher.vectors).square().mean(1) * in.target_weights).sum();
  }
};

}  // namespace

void add_hint(LossRegistry& registry) {
  registry.add<VectorOptions>("hint", [](const VectorOptions& o) { return std::make_shared<Hint>(o); });
}

}  // namespace decant::trainer
