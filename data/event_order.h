// Events that came in any order, brought into that of time.
#pragma once

#include "data/event_log.h"
#include "data/import.h"

namespace decant::data {

/// Sorts each user's events by time (those of one time keep their order), drops repeated ones and cuts sessions as the
/// options say; the times are dropped. `users`: ids of the rows; a session's is "<user>#<number from 1>". Counts.
void order_events(const InteractionOptions& options, UserEvents& events, TextColumn& users, InteractionCounts& counts);

}  // namespace decant::data
