// The summary of an import for people.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/options.h"

namespace decant::data {

/// What was dropped and why, by the summary's JSON, such as "1,454 dropped: without user, item or time". Counts of zero are left
/// out.
[[nodiscard]] std::vector<std::string> dropped_text(const base::Json& summary);

/// Some ten lines, each with a count before what it counts: what was read, what was dropped and why, what is left. Counts of
/// zero are left out, and so is every id: the most frequent items are told by their share. No newline at its end. `dataset`: the folder of a dataset
/// that decant imported. Throws DataError when it is damaged.
[[nodiscard]] std::string import_text(const std::filesystem::path& dataset);

}  // namespace decant::data
