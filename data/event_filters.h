// What an import leaves out, counted.
#pragma once

#include <cstdint>

#include "data/dataset_writer.h"
#include "data/event_log.h"
#include "data/import.h"

namespace decant::data {

/// Applies collapse (once, to the log as it was read), k-core and min_events, in this order; users left without events
/// have length 0. Fills the summary's counts of what was dropped.
void filter_events(const ImportOptions& options, std::int64_t items, UserEvents& events, ImportSummary& summary);

/// Users and items that still have events, numbered anew in their old order.
[[nodiscard]] DatasetContent compact(const UserEvents& events, const TextColumn& users, const TextColumn& items);

}  // namespace decant::data
