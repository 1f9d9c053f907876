// Relational KD by distance (Park, Kim, Lu, Cho 2019): distances between the rows of a step, each side's divided by
// their mean, compared by smooth L1. A row's loss is its mean over all rows; no map is needed between the widths.
#include <ATen/ops/cdist.h>
#include <ATen/ops/smooth_l1_loss.h>

#include <algorithm>

#include "trainer/losses/vectors.h"
#include "trainer/row_gather.h"

namespace decant::trainer {
namespace {

class RkdDistance : public VectorLoss {
 public:
  explicit RkdDistance(const BatchVectorOptions& options) : VectorLoss(options), choice_(options.targets) {}
  LossNeeds needs() const override {
    auto needs = VectorLoss::needs();
    needs.scope = Scope::kBatch;
    return needs;
  }
  double weight(const data::LabelledBatch& batch) const override { return choice_.weight(batch); }
  torch::Tensor sum(const LossInputs& in) override {
    const auto kept = choice_.of(in);
    const auto student = distances(in.taps.at(tap()).index_select(0, kept), *in.rows);
    const auto teacher = distances(in.teacher.vectors.index_select(0, kept), *in.rows);
    const auto apart = at::smooth_l1_loss(student, teacher, at::Reduction::None);
    const auto rows = std::max<std::int64_t>(apart.size(1), 1);
    return (apart.sum(1) / rows * in.target_weights.index_select(0, kept)).sum();
  }

 private:
  /// [own rows, all rows], in units of the mean of those that are not 0; 0 of equal rows, without a gradient.
  [[nodiscard]] static torch::Tensor distances(const torch::Tensor& own, RowGather& rows) {
    const auto all = rows.gather(own.contiguous()).rows;
    const auto distance = at::cdist(own, all, 2, /*by differences, not by products*/ 2);
    const auto apart = distance > 0;
    const auto total = rows.sum(distance.sum().unsqueeze(0));
    const auto count = rows.sum(apart.sum().to(torch::kFloat32).unsqueeze(0)).clamp_min(1);
    return distance / (total / count).clamp_min(1e-12);
  }

  TargetChoice choice_;
};

}  // namespace

void add_rkd_distance(LossRegistry& registry) {
  registry.add<BatchVectorOptions>("rkd_distance",
                                   [](const BatchVectorOptions& o) { return std::make_shared<RkdDistance>(o); });
}

}  // namespace decant::trainer
