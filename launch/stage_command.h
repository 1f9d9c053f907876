// Commands that take a job file and may run on many ranks.
#pragma once

#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

[[nodiscard]] bool is_stage(const std::string& command);

/// Does the stage of `line.command` on all ranks; returns the exit code. Throws CommonError for what all ranks know.
[[nodiscard]] int run_stage(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
