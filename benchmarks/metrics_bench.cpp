// What a step pays for its metrics: everything that training sets and adds in one step with two losses, alone, with the
// listener that event files for TensorBoard need, and a scrape.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "monitoring/metrics.h"
#include "monitoring/scalar_log.h"

namespace {

using decant::monitoring::Metrics;

constexpr int kStepsInARow = 10'000;  // of seven points each

void step(Metrics& metrics, double number) {
  metrics.set_part("decant_loss", "ce", 1 / number);
  metrics.set_part("decant_loss", "kl_tail", 1 / number);
  metrics.set_part("decant_loss", "total", 2 / number);
  metrics.add("decant_samples_total", 64);
  metrics.add("decant_targets_total", 512);
  metrics.add("decant_data_wait_seconds_total", 1e-4);
  metrics.add("decant_exchange_wait_seconds_total", 1e-4);
  metrics.add("decant_exchange_seconds_total", 1e-3);
  metrics.set("decant_exchange_hidden_ratio", 0.9);
  metrics.add("decant_exchange_bytes_total", 1e6);
  metrics.set("decant_step", number);
  metrics.set("decant_sequences_per_second", 1000);
  metrics.set("decant_epoch", 1);
  metrics.set("decant_gradient_norm", 1 / number);
  metrics.set("decant_learning_rate", 1e-3);
  metrics.set("decant_last_step_timestamp_seconds", 1.7e9 + number);
}

void set_a_step(benchmark::State& state) {
  Metrics metrics("bench", 0);
  metrics.set_stage("student");
  double number = 0;
  for (auto _ : state) step(metrics, ++number);
}
BENCHMARK(set_a_step)->Unit(benchmark::kMicrosecond);

void set_a_step_with_event_files(benchmark::State& state) {
  const auto folder = std::filesystem::temp_directory_path() / ("decant_metrics_bench_" + std::to_string(::getpid()));
  {
    Metrics metrics("bench", 0);
    const decant::monitoring::ScalarLog log(metrics, folder, [](const auto&) {});
    metrics.set_stage("student");
    double number = 0;
    for (auto _ : state) {
      step(metrics, ++number);
      if (static_cast<int>(number) % kStepsInARow != 0) continue;
      state
          .PauseTiming();  // no training is so fast: what waits is written, or points would be dropped, which is cheaper
      std::this_thread::sleep_for(std::chrono::seconds(1));
      state.ResumeTiming();
    }
    if (metrics.text().find("decant_tensorboard_dropped_total{") != std::string::npos)
      state.SkipWithError("points were dropped");
  }
  std::filesystem::remove_all(folder);
}
BENCHMARK(set_a_step_with_event_files)->Unit(benchmark::kMicrosecond)->Iterations(4 * kStepsInARow);

void scrape(benchmark::State& state) {
  Metrics metrics("bench", 0);
  for (const char* const stage : {"teacher", "control", "student"}) {
    metrics.set_stage(stage);
    step(metrics, 1);
  }
  for (auto _ : state) benchmark::DoNotOptimize(metrics.text());
}
BENCHMARK(scrape)->Unit(benchmark::kMicrosecond);

}  // namespace
