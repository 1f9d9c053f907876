// How fast finished models answer: one user on one thread, and batches on all of them.
#pragma once

#include <filesystem>
#include <string>

#include "base/options.h"
#include "trainer/workspace.h"

namespace decant::trainer {

struct BenchOptions : base::Options {
  std::int64_t k = 10;
  std::int64_t histories = 200;  // of the test split, spread evenly over the dataset
  std::int64_t repetitions = 5;  // of each history and of the batches
  std::int64_t warm_up = 20;     // histories a side, before anything is timed
  std::int64_t batch = 256;
  void describe(base::Fields& fields) override;
};

/// Latencies and throughput of teacher, student, student with int8 rows, and control, as far as they are finished: the
/// document of bench.json (docs/export.md). The sides take turns, so that what disturbs the machine disturbs all. On
/// the CPU, one rank. Throws CheckpointError when neither teacher nor student is finished, DataError when the test split
/// is empty.
[[nodiscard]] base::Json bench_models(Workspace& space, const BenchOptions& options);

/// The table that `decant bench` prints.
[[nodiscard]] std::string format_bench(const base::Json& bench);

/// Writes bench.json into the run folder, and its part of report.json where there is a report.
void save_bench(const std::filesystem::path& run_folder, const base::Json& bench);

/// What report.json has under "inference": bench.json of the run folder, or null when there is none or it was measured
/// on other weights than those that lie there now.
[[nodiscard]] base::Json inference_json(const std::filesystem::path& run_folder);

}  // namespace decant::trainer
