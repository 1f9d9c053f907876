// `decant bench`: how fast the models of a run answer.
#pragma once

#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

/// line.path: a job file or a run folder, into which the figures are written. Returns the document of bench.json.
[[nodiscard]] base::Json bench_command(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
