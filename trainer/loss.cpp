#include "trainer/loss.h"

#include <numeric>

#include "trainer/losses/losses.h"

namespace decant::trainer {

void LossOptions::describe(base::Fields& fields) {
  fields.real("weight", weight, {0, 1e9}, "factor of this loss in the sum");
}

double Loss::weight(const data::LabelledBatch& batch) const {
  return std::accumulate(batch.batch.target_weights.begin(), batch.batch.target_weights.end(), 0.0);
}

void register_losses(LossRegistry& registry) {
  add_ce(registry);
  add_kl_tail(registry);
  add_kl_renormalised(registry);
  add_kl_truncated(registry);
  add_mse(registry);
}

}  // namespace decant::trainer
