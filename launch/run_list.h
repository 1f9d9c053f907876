// Run folders beside each other: what is in them, and in what their jobs differ.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"

namespace decant::launch {

/// The run folders at or below `folders` (what has a job.yaml or a report; inside one only the trials of a
/// sweep are looked for), by name: {runs: [{run, state,
/// metric, seed, sides: {student: {test, parameters}, ...}}]}. `state`: "evaluated", "sweep", "damaged" (with `error`), or the last stage and whether it is done.
/// Sides only where there is a report. Throws ConfigError for a folder that is not there, and where none is a run.
[[nodiscard]] base::Json list_runs(const std::vector<std::string>& folders);
[[nodiscard]] std::string format_runs(const base::Json& runs);

/// Options in which the jobs of these run folders differ, but for run.folder: {key: [a value a folder]}, null where a job has none.
/// Empty when a folder has no job.yaml.
[[nodiscard]] base::Json job_differences(const std::vector<std::string>& folders);
/// Whether they differ in nothing that decides what is learnt but seeds: in `run`, `monitoring`, paths, checkpoints.
[[nodiscard]] bool seeds_of_one_job(const base::Json& differences);
[[nodiscard]] std::string format_differences(const base::Json& differences);

}  // namespace decant::launch
