// One row an optimiser: each is defined in the file of its name.
#pragma once

#include "trainer/optimizer.h"

namespace decant::trainer {

void add_adamw(OptimizerRegistry& registry);
void add_sgd(OptimizerRegistry& registry);

}  // namespace decant::trainer
