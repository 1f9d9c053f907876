// 1 - cosine of the teacher's vector and a learned linear map of the student's.
#include "trainer/losses/vectors.h"

namespace decant::trainer {
namespace {

class Cosine : public ProjectedLoss {
 public:
  using ProjectedLoss::ProjectedLoss;
  torch::Tensor sum(const LossInputs& in) override {
    const auto cosine = (unit_rows(projected(in)) * unit_rows(in.teacher.vectors)).sum(1);
    return ((1 - cosine) * in.target_weights).sum();
  }
};

}  // namespace

void add_cosine(LossRegistry& registry) {
  registry.add<VectorOptions>("cosine", [](const VectorOptions& o) { return std::make_shared<Cosine>(o); });
}

}  // namespace decant::trainer
