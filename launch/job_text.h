// Options as a job file: YAML that launch/job_file.h reads back to the same options.
#pragma once

#include <string>

#include "base/options.h"

namespace decant::launch {

enum class Comments { kNone, kHelp };

/// Every field with its value, in declaration order; with kHelp, above each what it means, its range and its choices.
[[nodiscard]] std::string job_text(base::Options& options, Comments comments);

}  // namespace decant::launch
