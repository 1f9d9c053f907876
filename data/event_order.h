// Events that came in any order, brought into that of time.
#pragma once

#include <limits>

#include "data/import.h"
#include "data/time_text.h"
#include "data/user_events.h"

namespace decant::data {

/// Sorts each row's events by part of the split, then time; those of one time keep their order.
void sort_rows(UserEvents& events);

/// Sorts rows, drops repeated events and cuts sessions as the options say; the times are dropped unless they are to be
/// kept. Counts. Takes blocks in any number.
class EventOrder {
 public:
  /// References must outlive it.
  EventOrder(const InteractionOptions& options, InteractionCounts& counts) : options_(options), counts_(counts) {}
  void operator()(UserEvents& events);
  /// After the last block.
  void finish();

 private:
  const InteractionOptions& options_;
  InteractionCounts& counts_;
  Micros first_ = std::numeric_limits<Micros>::max(), last_ = std::numeric_limits<Micros>::min();
};

}  // namespace decant::data
