// How options speak: ranges and values in messages and in the documentation. Internal to base.
#pragma once

#include <string>

#include "base/options.h"

namespace decant::base {

/// "1 to 100", ">= 1", "<= 9", or "" when unbounded.
[[nodiscard]] std::string range_text(const Range& range);

/// A value as a message shows it: "'abc'", "0.5", "a map", "a list", "nothing".
[[nodiscard]] std::string value_text(const Json& value);

/// "prefix.name", or "name" at the top.
[[nodiscard]] std::string child_key(const std::string& prefix, std::string_view name);

}  // namespace decant::base
