// Relaxed ranking distillation (Kang, Hwang, Kweon, Yu 2020, DE-RRD): how likely the student draws the teacher's best
// items in the teacher's order from themselves and uninteresting items, whose order does not matter:
// -sum_k [s_k - log(sum_{i >= k} e^{s_i} + sum_l e^{u_l})]. The uninteresting ones are drawn uniformly outside the label.
#include <ATen/ops/logcumsumexp.h>

#include <limits>

#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

struct RrdOptions : LabelLossOptions {
  std::int64_t interesting = 40, uninteresting = 40;
  void describe(base::Fields& fields) override {
    LabelLossOptions::describe(fields);
    fields.integer("interesting", interesting, {1, 1e6}, "of the teacher's best items, whose order is taught");
    fields.integer("uninteresting", uninteresting, {1, 1e6}, "items drawn a step, less those of the label");
  }
};

class Rrd : public Loss {
 public:
  explicit Rrd(const RrdOptions& options) : interesting_(options.interesting), drawn_(options.uninteresting) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.labels = needs.label_logits = true;
    needs.least_k = interesting_;
    needs.label_kinds = {"topk", "top_p"};
    needs.drawn = drawn_;
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    constexpr float kLowest = std::numeric_limits<float>::lowest() / 4;  // adds nothing, and has a finite gradient
    const auto none = in.teacher.ids.narrow(1, 0, interesting_) < 0;
    const auto best = in.student.label_logits.narrow(1, 0, interesting_).masked_fill(none, kLowest);
    const auto from_here = at::logcumsumexp(best.flip(1), 1).flip(1);
    const auto left = from_here.logaddexp(log_sum(in.student.drawn_logits).clamp_min(kLowest).unsqueeze(1));
    return ((left - best).masked_fill(none, 0).sum(1) * in.target_weights).sum();
  }

 private:
  std::int64_t interesting_, drawn_;
};

}  // namespace

void add_rrd(LossRegistry& registry) {
  registry.add<RrdOptions>("rrd", [](const RrdOptions& o) { return std::make_shared<Rrd>(o); });
}

}  // namespace decant::trainer
