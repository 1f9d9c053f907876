// Ranking distillation (Tang, Wang 2018): sum over the teacher's best items but the target of w_k (-log sigmoid(s_k)).
// w_k falls with the position (e^{-k / lambda}, summing to 1); later it is also multiplied by how much deeper than k the
// student ranks the item, max(tanh(mu (r_k - k)), 0), with r_k estimated from drawn items.
#include <ATen/ops/log_sigmoid.h>

#include <limits>

#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

struct RdOptions : LabelLossOptions {
  std::int64_t depth = 10, drawn = 100, dynamic_after = 0;
  double lambda = 1, mu = 0.1;
  void describe(base::Fields& fields) override {
    LabelLossOptions::describe(fields);
    fields.integer("depth", depth, {1, 1e6}, "of the teacher's best items, the target left out");
    fields.real("lambda", lambda, {1e-3, 1e6}, "positions over which a weight falls by e");
    fields.real("mu", mu, {0, 1e6}, "how sharply weights answer to the student's rank");
    fields.integer("drawn", drawn, {1, 1e6}, "items drawn a step, from which the student's rank is estimated");
    fields.integer("dynamic_after", dynamic_after, {0, 1e12}, "steps with weights by position alone");
  }
};

class RankingDistillation : public Loss {
 public:
  explicit RankingDistillation(const RdOptions& options)
      : depth_(options.depth),
        drawn_(options.drawn),
        dynamic_after_(options.dynamic_after),
        lambda_(options.lambda),
        mu_(options.mu),
        dynamic_(dynamic_after_ == 0) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.label_kinds = {"topk", "top_p"};
    needs.least_k = depth_ + 1;  // one of them may be the target
    needs.drawn = drawn_;
    return needs;
  }
  void prepare(const LossContext& context) override { items_ = context.items; }
  void begin_step(std::int64_t step) override { dynamic_ = step >= dynamic_after_; }
  torch::Tensor sum(const LossInputs& in) override {
    const auto ids = in.teacher.ids.narrow(1, 0, depth_ + 1);
    auto counts = (ids >= 0) & (ids != in.target_ids.unsqueeze(1));
    const auto position = counts.cumsum(1);  // from 1
    counts = counts & (position <= depth_);
    const auto scores = in.student.label_logits.narrow(1, 0, depth_ + 1).masked_fill(~counts, 0);
    auto weights = (-position.to(torch::kFloat32) / lambda_).exp() * counts;
    weights = weights / weights.sum(1, true).clamp_min(std::numeric_limits<float>::min());
    if (dynamic_) weights = weights * shortfall(scores.detach(), position, in.student.drawn_logits.detach());
    return ((-at::log_sigmoid(scores) * weights).sum(1) * in.target_weights).sum();
  }

 private:
  /// How far below its place the student has an item: max(tanh(mu (estimated rank - k)), 0).
  [[nodiscard]] torch::Tensor shortfall(const torch::Tensor& scores, const torch::Tensor& position,
                                        const torch::Tensor& drawn) const {
    const auto lowest = -std::numeric_limits<float>::infinity();
    const auto valid = (drawn > lowest).sum(1, true).clamp_min(1);
    const auto above = (drawn.unsqueeze(1) > scores.unsqueeze(2)).sum(2);
    const auto rank = ((items_ - 1) * above).div(valid, "floor");
    return ((rank - position).to(torch::kFloat32) * mu_).tanh().clamp_min(0);
  }

  std::int64_t depth_, drawn_, dynamic_after_, items_ = 0;
  double lambda_, mu_;
  bool dynamic_;
};

}  // namespace

void add_rd(LossRegistry& registry) {
  registry.add<RdOptions>("rd", [](const RdOptions& o) { return std::make_shared<RankingDistillation>(o); });
}

}  // namespace decant::trainer
