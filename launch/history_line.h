// Lines that `decant recommend` reads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace decant::launch {

struct History {
  std::string name{};
  std::vector<std::int64_t> items{};
  std::int64_t unknown = 0;  // items without a number
};

/// The number of an original id, -1 when the catalogue has none of that name.
using ItemNumber = std::function<std::int64_t(std::string_view id)>;

/// A name and items in the order of time, separated by blanks or tabs, or a JSON object {"id": ..., "items": [...]}; without
/// an id the name is the number of the line. A blank line has no name. Throws DataError with file and line for a line that
/// begins as an object and is none with a list of items.
[[nodiscard]] History parse_history(std::string_view line, const std::string& path, std::int64_t line_number,
                                    const ItemNumber& number_of);

}  // namespace decant::launch
