// Parameters that keep their values: chosen by patterns of names in the job file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/weights_file.h"

namespace decant::trainer {

/// Whether `name` has the form of `pattern`, in which '*' stands for any letters and '?' for one.
[[nodiscard]] bool fits(std::string_view name, std::string_view pattern);

/// Throws ConfigError when a pattern fits none of `names` (naming `key` and the nearest name), or when all fit.
void check_frozen_patterns(const std::vector<std::string>& patterns, const std::vector<std::string>& names,
                           const std::string& key);

/// For as long as it lives, parameters whose names fit need no gradient: no backward for them, no place in the
/// exchange, no optimiser state, no weight decay.
class Frozen {
 public:
  Frozen(const models::NamedTensors& parameters, const std::vector<std::string>& patterns);
  ~Frozen();
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  std::vector<torch::Tensor> tensors_;
};

/// Those that require a gradient, in their order.
[[nodiscard]] models::NamedTensors trainable(const models::NamedTensors& parameters);

}  // namespace decant::trainer
