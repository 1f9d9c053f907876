// Patient KD (Sun, Cheng, Gan, Liu 2019): squared distance of the two vectors, each scaled to length 1; the student's
// after a learned linear map. One entry a layer.
#include "trainer/losses/vectors.h"

namespace decant::trainer {
namespace {

class Pkd : public ProjectedLoss {
 public:
  using ProjectedLoss::ProjectedLoss;
  torch::Tensor sum(const LossInputs& in) override {
    const auto gap = unit_rows(projected(in)) - unit_rows(in.teacher.vectors);
    return (gap.square().sum(1) * in.target_weights).sum();
  }
};

}  // namespace

void add_pkd(LossRegistry& registry) {
  registry.add<VectorOptions>("pkd", [](const VectorOptions& o) { return std::make_shared<Pkd>(o); });
}

}  // namespace decant::trainer
