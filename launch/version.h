// `decant --version`.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace decant::launch {

/// decant's own version, revision and kind of build: "0.1.0 (339c050, Release)".
[[nodiscard]] std::string build_text();

/// Of decant and of every part: its name, the version it was built with and, where they can differ, the one loaded.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> version_rows();

/// The same as text.
[[nodiscard]] std::string version_text();

}  // namespace decant::launch
