// Decoupled KD (Zhao, Cui, Song, Qiu, Liang 2022): T^2 (alpha KL over {target, all others} + beta KL over the others).
// The others are the stored items but the target, and one bucket for the rest. All in log space.
#include <ATen/ops/cat.h>
#include <ATen/ops/where.h>

#include <limits>

#include "trainer/losses/divergence.h"

namespace decant::trainer {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct DkdOptions : TemperatureOptions {
  DkdOptions() { temperature = 4; }
  double alpha = 1, beta = 8;
  void describe(base::Fields& fields) override {
    TemperatureOptions::describe(fields);
    fields.real("alpha", alpha, {0, 1e6}, "of the target against all others");
    fields.real("beta", beta, {0, 1e6}, "of the others among themselves");
  }
};

/// log(e^a - e^b) where b < a; the difference is kept above a rounding error of a.
torch::Tensor log_without(const torch::Tensor& a, const torch::Tensor& b) {
  return a + (-(b - a).exp().clamp_max(1 - 1e-7)).log1p();
}

class Dkd : public SoftenedLoss {
 public:
  explicit Dkd(const DkdOptions& options)
      : SoftenedLoss(options, true), alpha_(options.alpha), beta_(options.beta), forward_({}) {}
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = needs.outside_lse = needs.label_rest_lse = temperatures();
    needs.labels = needs.label_logits = needs.target_logits = needs.label_target_logit = true;
    needs.least_k = 2;
    needs.label_kinds = {"topk", "top_p", "dense"};
    return needs;
  }
  void prepare(const LossContext& context) override {
    if (context.items < 3)
      throw base::ConfigError("dkd needs a catalogue of at least 3 items: of 2, one is left beside the target");
  }
  torch::Tensor sum(const LossInputs& in) override {
    const auto is_target = in.teacher.ids == in.target_ids.unsqueeze(1);
    const auto stored = is_target.any(1);
    const auto& rest = in.teacher.rest_lse.at(t());
    const auto own = in.teacher.logits.masked_fill(~is_target, 0).sum(1);
    const auto teacher_target = at::where(stored, own, in.teacher.target_logit) / t();
    const auto outside = at::where(stored, rest, log_without(rest, teacher_target));
    const auto others = [&](const torch::Tensor& logits, const torch::Tensor& tail) {
      return at::cat({(logits / t()).masked_fill(is_target, -kInfinity), tail.unsqueeze(1)}, 1);
    };
    const auto teacher = others(in.teacher.logits, outside);
    const auto student = others(in.student.label_logits, in.student.outside_lse.at(t()));
    const auto teacher_rest = log_sum(teacher), student_rest = log_sum(student);
    const auto teacher_full = teacher_rest.logaddexp(teacher_target);
    const auto student_full = in.student.full_lse.at(t());
    const auto target = forward_.terms(teacher_target - teacher_full, in.student.target_logits / t() - student_full) +
                        forward_.terms(teacher_rest - teacher_full, student_rest - student_full);
    const auto among = forward_.terms(teacher - teacher_rest.unsqueeze(1), student - student_rest.unsqueeze(1)).sum(1);
    return t() * t() * ((alpha_ * target + beta_ * among) * in.target_weights).sum();
  }

 private:
  double alpha_, beta_;
  Divergence forward_;
};

}  // namespace

void add_dkd(LossRegistry& registry) {
  registry.add<DkdOptions>("dkd", [](const DkdOptions& o) { return std::make_shared<Dkd>(o); });
}

}  // namespace decant::trainer
