// What the record of collectives costs: of one collective that is issued, waited for and finished, and beside it a
// heartbeat's look at the record.
#include <benchmark/benchmark.h>

#include "dist/flight_recorder.h"

namespace {

using decant::dist::CollectiveKind;
using decant::dist::FlightRecorder;

void record_a_collective(benchmark::State& state) {
  FlightRecorder recorder;
  recorder.stand_at("student", 1);
  for (auto _ : state) {
    const auto sequence = recorder.start(CollectiveKind::kAllReduce, 4096);
    recorder.wait_begins(sequence);
    recorder.finish(sequence);
  }
}
BENCHMARK(record_a_collective);

void look_at_the_record(benchmark::State& state) {
  FlightRecorder recorder;
  for (int i = 0; i < 100; ++i) recorder.start(CollectiveKind::kAllReduce, i);
  for (auto _ : state) benchmark::DoNotOptimize(recorder.standing());
}
BENCHMARK(look_at_the_record);

}  // namespace
