// `decant --version`.
#pragma once

#include <string>

namespace decant::launch {

/// decant, its revision, and of every part the version it was built with and, where they can differ, the one loaded.
[[nodiscard]] std::string version_text();

}  // namespace decant::launch
