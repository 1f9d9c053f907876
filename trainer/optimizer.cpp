#include "trainer/optimizer.h"

#include "trainer/optimizers/optimizers.h"

namespace decant::trainer {

void register_optimizers(OptimizerRegistry& registry) {
  add_adamw(registry);
  add_sgd(registry);
}

}  // namespace decant::trainer
