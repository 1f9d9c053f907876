// `decant inspect`: what is in a file or folder of decant's.
#pragma once

#include <filesystem>

#include "base/options.h"

namespace decant::launch {

/// A dataset, a label set, a checkpoint, a weights file or a run folder, verified as far as its format allows.
/// Throws ConfigError when it is none of these, and the errors of the module that owns it when it is damaged.
[[nodiscard]] base::Json inspect(const std::filesystem::path& path);

}  // namespace decant::launch
