// Which columns of a log of interactions are read.
#pragma once

#include <cstdint>
#include <vector>

#include "data/interaction_options.h"
#include "data/record_reader.h"

namespace decant::data {

/// What of an event is read, in the order of its record's cells. The name of each is that of its option.
enum class Value : std::uint8_t { kUser, kItem, kTime, kEvent, kRating, kQuantity };

/// The columns of a log, in the order of Value.
[[nodiscard]] std::vector<WantedColumn> interaction_columns(const InteractionOptions& options);

[[nodiscard]] inline const Cell& cell_of(const Record& record, Value value) {
  return record.cells[static_cast<std::size_t>(value)];
}

}  // namespace decant::data
