#include "trainer/step_meter.h"

#include <array>
#include <chrono>
#include <cstdio>

namespace decant::trainer {

void StepMeter::take(const data::Window& window, const StepFigures& step) {
  constexpr std::int64_t kWarmUp = 5;
  if (++steps_ > kWarmUp) seconds_ += step.seconds, sequences_ += window.sequences, waited_ += step.data_wait_seconds;
  auto& metrics = context_.metrics;
  for (const auto& part : window.micro_batches) {
    metrics.add("decant_samples_total", static_cast<double>(part.batch.sequences()));
    metrics.add("decant_targets_total", static_cast<double>(part.batch.targets()));
  }
  metrics.add("decant_data_wait_seconds_total", step.data_wait_seconds);
  metrics.add("decant_exchange_wait_seconds_total", step.exchange.exposed_seconds);
  metrics.add("decant_exchange_seconds_total", step.exchange.exchange_seconds);
  if (context_.world() > 1) metrics.set("decant_exchange_hidden_ratio", step.exchange.hidden());
  metrics.add("decant_exchange_bytes_total", static_cast<double>(step.exchange.bytes));
  metrics.set("decant_step", static_cast<double>(step.steps_done));
  const double rate = static_cast<double>(window.sequences) / step.seconds;
  metrics.set("decant_sequences_per_second", rate);
  metrics.set("decant_epoch", static_cast<double>(step.epoch));
  metrics.set("decant_gradient_norm", step.gradient_norm);
  metrics.set("decant_learning_rate", step.learning_rate);
  metrics.set("decant_last_step_timestamp_seconds",
              std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "epoch %lld  %.0f seq/s  loss %.4f", static_cast<long long>(step.epoch), rate,
                step.loss);
  context_.progress.update(step.steps_done, text.data());
}

}  // namespace decant::trainer
