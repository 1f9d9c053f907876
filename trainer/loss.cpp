#include "trainer/loss.h"

#include <numeric>

#include "trainer/losses/losses.h"

namespace decant::trainer {

void LossOptions::describe(base::Fields& fields) {
  fields.real("weight", weight, {0, 1e9}, "factor of this loss in the sum");
  fields.group("weight_schedule", weight_schedule, "the factor by step; starts at `weight`");
}

void LabelLossOptions::describe(base::Fields& fields) {
  LossOptions::describe(fields);
  fields.texts("labels", labels, "the label sets it works on");
  fields.text(
      "sharing", sharing,
      "of a target among several sets: by `shares`; the surer teacher more; the less, the more their ids differ; or "
      "by a learned gate (docs/losses.md)",
      {"fixed", "confidence", "disagreement", "gate"});
  fields.reals("shares", shares, {0, 1e9},
               "of the sets, in their order, before what `sharing` makes of them; not of a gate; empty: equal");
}

void Loss::prepare(const LossContext&) {}
void Loss::begin_step(std::int64_t) {}
void Loss::end_step() {}
models::NamedTensors Loss::state(dist::Communicator&) { return {}; }
void Loss::restore(const models::NamedTensors&) {}

double Loss::weight(const data::LabelledBatch& batch) const {
  return std::accumulate(batch.batch.target_weights.begin(), batch.batch.target_weights.end(), 0.0);
}

void register_losses(LossRegistry& registry) {
  add_ce(registry);
  add_kl_tail(registry);
  add_kl_renormalised(registry);
  add_kl_truncated(registry);
  add_soft_ce(registry);
  add_mse(registry);
  add_logit_std(registry);
  add_dkd(registry);
  add_kl_sampled(registry);
  add_list_kl(registry);
  add_rrd(registry);
  add_rd(registry);
  add_pairwise(registry);
  add_margin_mse(registry);
  add_hint(registry);
  add_cosine(registry);
  add_pkd(registry);
  add_rkd_distance(registry);
  add_info_nce(registry);
  add_crd(registry);
}

}  // namespace decant::trainer
