// Command-line flags from an options struct: describe() is the only declaration.
#pragma once

#include <string>
#include <vector>

#include "base/options.h"

namespace CLI {
class App;
}

namespace decant::launch {

/// Adds --k-core for a field "k_core", with its help, default and choices; fields in `skipped` get none. What the user
/// gives is put into `given`, typed, for base::read_options to check. `given` must live until the app has parsed.
/// REQUIRES: integers, numbers, flags and texts only.
void add_option_flags(CLI::App& app, base::Options& options, base::Json& given,
                      const std::vector<std::string>& skipped = {});

}  // namespace decant::launch
