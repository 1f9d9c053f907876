#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace decant::trainer {

double schedule_factor(const ScheduleOptions& options, std::int64_t step) {
  if (step < options.warmup_steps) return static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  if (options.decay == "constant") return 1;
  const double done =
      std::min(1.0, static_cast<double>(step - options.warmup_steps) / static_cast<double>(options.decay_steps));
  const double left = options.decay == "linear" ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return options.final_fraction + (1 - options.final_fraction) * left;
}

}  // namespace decant::trainer
