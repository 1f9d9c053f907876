// Optimisers over named parameters; state is keyed by parameter name. One file and one row each.
#pragma once

#include <torch/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/registry.h"
#include "models/weights_file.h"

namespace decant::trainer {

using models::NamedTensors;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step from the gradients in .grad, at learning rate `lr`.
  virtual void step(double lr) = 0;
  /// The kind's base learning rate.
  [[nodiscard]] virtual double base_lr() const = 0;
  /// State tensors as "<parameter>/<slot>"; loading copies into them. Live tensors: the caller copies.
  [[nodiscard]] virtual NamedTensors state() = 0;
};

using OptimizerRegistry = base::Registry<Optimizer, const NamedTensors&>;

/// Adds adamw (Loshchilov, Hutter 2019; fused) and sgd (momentum, Nesterov).
void register_optimizers(OptimizerRegistry& registry);

}  // namespace decant::trainer
