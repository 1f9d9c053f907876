// What the losses with a temperature share.
#include "trainer/losses/losses.h"

namespace decant::trainer {

SoftenedLoss::SoftenedLoss(const TemperatureOptions& options, bool listed)
    : start_(options.temperature), schedule_(options.temperature_schedule) {
  schedule_.check("temperature_schedule");
  t_ = schedule_.at(start_, 0);
  temperatures_ = schedule_.values(start_);
  if (temperatures_.empty() && listed)
    throw base::ConfigError(
        "labels hold what this loss needs at a list of temperatures: give 'temperature_schedule.grid', a part of "
        "'labels.temperatures'");
  if (temperatures_.empty()) temperatures_ = {t_};
}

void SoftenedLoss::begin_step(std::int64_t step) {
  t_ = schedule_.at(start_, step);
  temperatures_ = {t_};
}

}  // namespace decant::trainer
