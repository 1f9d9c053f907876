// `decant labels status|verify`: what is there of a job's label sets, and whether it is right.
#pragma once

#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

/// line.files: what to do, and a job file or the folder of a label set.
[[nodiscard]] base::Json labels_command(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
