// What an import leaves out, counted.
#pragma once

#include <cstdint>
#include <vector>

#include "data/event_blocks.h"
#include "data/import.h"

namespace decant::data {

/// Leaves one of consecutive events of a row with one item; counts.
void collapse_repeats(UserEvents& events, ImportSummary& summary);

/// Applies k-core and min_events, in this order; rows left without events go. Fills the summary's counts of what was
/// dropped. Returns how many events each of `items` items has left.
std::vector<std::uint64_t> filter_events(const ImportOptions& options, std::int64_t items, EventBlocks& events,
                                         ImportSummary& summary);

}  // namespace decant::data
