// What a training step took and did, as metrics, as the progress line, and as the rates of the result.
#pragma once

#include <cstdint>

#include "data/loader.h"
#include "dist/gradient_reducer.h"
#include "trainer/context.h"

namespace decant::trainer {

/// Of one step on this rank.
struct StepFigures {
  double seconds = 0, data_wait_seconds = 0;
  dist::ReducerStats exchange;
  std::int64_t steps_done = 0, epoch = 0;
  double gradient_norm = 0, learning_rate = 0, loss = 0;
};

class StepMeter {
 public:
  /// `context` must outlive it.
  explicit StepMeter(Context& context) : context_(context) {}
  void take(const data::Window& window, const StepFigures& step);

  /// Over all steps but the first five, which warm up; 0: there were no others.
  [[nodiscard]] double sequences_per_second() const {
    return seconds_ > 0 ? static_cast<double>(sequences_) / seconds_ : 0;
  }
  [[nodiscard]] double data_wait_share() const { return seconds_ > 0 ? waited_ / seconds_ : 0; }

 private:
  Context& context_;
  std::int64_t steps_ = 0, sequences_ = 0;
  double seconds_ = 0, waited_ = 0;
};

}  // namespace decant::trainer
