// `decant import --out`: raw files to a dataset, without a job file; alone or by several ranks.
#pragma once

#include "launch/command_line.h"

namespace decant::launch {

/// Returns the exit code.
int run_import(const CommandLine& line);

}  // namespace decant::launch
