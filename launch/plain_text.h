// JSON as people read it: a line a value, nested by indentation.
#pragma once

#include <string>

#include "base/options.h"

namespace decant::launch {

/// Keys of one map are padded to one width; a list of maps with the same keys becomes a table.
[[nodiscard]] std::string plain_text(const base::Json& tree);

/// To stdout; a full disk behind it is an error like any other.
void print_text(const std::string& text);

}  // namespace decant::launch
