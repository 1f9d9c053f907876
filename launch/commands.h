// The commands of the program.
#pragma once

#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

/// Does what `line` says and returns the exit code.
[[nodiscard]] int execute(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
