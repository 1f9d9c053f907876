// `decant export`: a finished model as files for other programs.
#pragma once

#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

/// line.path: a job file or a run folder; line.out: the folder to write. Returns what was written, for printing.
[[nodiscard]] base::Json export_command(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
