// One row a loss: each is defined in the file of its name. Definitions and edge cases: docs/losses.md.
#pragma once

#include "trainer/loss.h"

namespace decant::trainer {

void add_ce(LossRegistry& registry);
void add_kl_tail(LossRegistry& registry);
void add_kl_renormalised(LossRegistry& registry);
void add_kl_truncated(LossRegistry& registry);
void add_soft_ce(LossRegistry& registry);
void add_mse(LossRegistry& registry);
void add_logit_std(LossRegistry& registry);
void add_dkd(LossRegistry& registry);
void add_kl_sampled(LossRegistry& registry);
void add_list_kl(LossRegistry& registry);
void add_rrd(LossRegistry& registry);
void add_rd(LossRegistry& registry);
void add_pairwise(LossRegistry& registry);  // bpr, margin
void add_margin_mse(LossRegistry& registry);
void add_hint(LossRegistry& registry);
void add_cosine(LossRegistry& registry);
void add_pkd(LossRegistry& registry);
void add_rkd_distance(LossRegistry& registry);
void add_info_nce(LossRegistry& registry);
void add_crd(LossRegistry& registry);

/// Options of the losses that soften both sides.
struct TemperatureOptions : LabelLossOptions {
  double temperature = 2;
  TemperatureSchedule temperature_schedule;
  void describe(base::Fields& fields) override {
    LabelLossOptions::describe(fields);
    fields.real("temperature", temperature, {0.05, 100}, "T of both sides; the loss carries T^2 (Hinton et al. 2015)");
    fields.group("temperature_schedule", temperature_schedule, "T by step; starts at `temperature`");
  }
};

/// A loss whose T may change with the step.
class SoftenedLoss : public Loss {
 public:
  /// `listed`: labels are stored at a list of T only, so a schedule needs its grid. Throws ConfigError without it.
  SoftenedLoss(const TemperatureOptions& options, bool listed);
  void begin_step(std::int64_t step) override;

 protected:
  [[nodiscard]] double t() const { return t_; }
  /// T of the running step; before the first, every T that a step can meet.
  [[nodiscard]] const std::vector<double>& temperatures() const { return temperatures_; }

 private:
  double start_, t_;
  TemperatureSchedule schedule_;
  std::vector<double> temperatures_;
};

}  // namespace decant::trainer
