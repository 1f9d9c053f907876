// One row a loss: each is defined in the file of its name. Definitions and edge cases: docs/losses.md.
#pragma once

#include "trainer/loss.h"

namespace decant::trainer {

void add_ce(LossRegistry& registry);
void add_kl_tail(LossRegistry& registry);
void add_kl_renormalised(LossRegistry& registry);
void add_kl_truncated(LossRegistry& registry);
void add_mse(LossRegistry& registry);

/// Options of the losses that soften both sides.
struct TemperatureOptions : LossOptions {
  double temperature = 2;
  void describe(base::Fields& fields) override {
    LossOptions::describe(fields);
    fields.real("temperature", temperature, {0.05, 100}, "T of both sides; the loss carries T^2 (Hinton et al. 2015)");
  }
};

}  // namespace decant::trainer
