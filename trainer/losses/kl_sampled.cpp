// Cross-entropy of the teacher's distribution estimated from ids drawn from it: -T^2 sum of w log p(id) with unbiased
// importance weights w (RS-KD: Anshumann et al. 2025). Its expectation is the gradient of the KL over the whole catalogue.
#include "trainer/losses/losses.h"

namespace decant::trainer {
namespace {

class KlSampled : public SoftenedLoss {
 public:
  explicit KlSampled(const TemperatureOptions& options) : SoftenedLoss(options, false) {
    if (options.temperature_schedule.changes())
      throw base::ConfigError("kl_sampled works at the temperature its ids were drawn at: no 'temperature_schedule'");
  }
  LossNeeds needs() const override {
    LossNeeds needs;
    needs.full_lse = temperatures();
    needs.labels = needs.label_logits = true;
    needs.label_kinds = {"sampled"};
    needs.drawn_at = t();
    return needs;
  }
  torch::Tensor sum(const LossInputs& in) override {
    if (in.teacher.drawn_at != t())
      throw base::ConfigError("kl_sampled: 'temperature' is " + base::Json(t()).dump() +
                              ", and the ids of label set '" + in.set + "' were drawn at " +
                              base::Json(in.teacher.drawn_at).dump());
    const auto none = in.teacher.ids < 0;
    const auto log_p = in.student.label_logits / t() - in.student.full_lse.at(t()).unsqueeze(1);
    const auto cross = -(in.teacher.draw_weights * log_p.masked_fill(none, 0)).masked_fill(none, 0).sum(1);
    return t() * t() * (cross * in.target_weights).sum();
  }
};

}  // namespace

void add_kl_sampled(LossRegistry& registry) {
  registry.add<TemperatureOptions>("kl_sampled",
                                   [](const TemperatureOptions& o) { return std::make_shared<KlSampled>(o); });
}

}  // namespace decant::trainer
