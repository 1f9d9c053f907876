// Lines that `decant recommend` reads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/history_events.h"

namespace decant::launch {

struct History {
  std::string name{};
  data::HistoryEvents events{};
};

/// A name and items in the order of time, separated by blanks or tabs, or a JSON object {"id": ..., "items": [...]}; without
/// an id the name is the number of the line. A blank line has no name. An item of the list may be an object, an event with
/// fields. Throws DataError with file and line for a line that begins as an object and is none with a list of items, and
/// for events that `fields` refuses.
[[nodiscard]] History parse_history(std::string_view line, const std::string& path, std::int64_t line_number,
                                    const data::ItemNumber& number_of, const data::HistoryFields& fields);

}  // namespace decant::launch
