#pragma once

#include <cstdint>

#include "trainer/job.h"

namespace decant::trainer {

/// Factor of the learning rate at optimiser step `step` (0-based): linear warm-up reaching 1 at step `warmup_steps`,
/// then constant, linear or cosine decay to `final_fraction` over `decay_steps`.
[[nodiscard]] double schedule_factor(const ScheduleOptions& options, std::int64_t step);

}  // namespace decant::trainer
