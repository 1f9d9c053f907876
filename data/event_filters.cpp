#include "data/event_filters.h"

#include <algorithm>
#include <utility>

namespace decant::data {

namespace {

/// Keeps, in place, the events that `keep(row's last item so far, item)` wants; rows left with fewer than `least` > 0
/// events go.
template <class Keep>
void keep_events(UserEvents& events, std::uint64_t least, const Keep& keep) {
  const bool plain = events.plain();
  std::uint64_t to = 0, begin = 0;
  std::size_t rows = 0;
  for (std::size_t row = 0; row < events.size(); ++row) {
    const std::uint64_t end = events.offsets[row + 1], start = to;
    for (std::uint64_t i = begin; i < end; ++i) {
      const std::uint32_t item = events.items[i];
      if (!keep(to > start ? &events.items[to - 1] : nullptr, item)) continue;
      if (plain)
        events.items[to++] = item;
      else
        events.move_event(i, to++);
    }
    begin = end;
    if (to - start < least) {
      to = start;
      continue;
    }
    events.rows[rows] = events.rows[row];
    events.offsets[++rows] = to;
  }
  events.rows.resize(rows);
  events.offsets.resize(rows + 1);
  events.resize_events(to);
}

void add_counts(const UserEvents& events, std::vector<std::uint64_t>& counts) {
  for (const std::uint32_t item : events.items) ++counts[item];
}

struct Left {
  std::int64_t users = 0, items = 0, events = 0;
};

Left left_of(const EventBlocks& events, const std::vector<std::uint64_t>& counts) {
  const auto items = std::count_if(counts.begin(), counts.end(), [](std::uint64_t n) { return n > 0; });
  return {events.rows(), items, events.events()};
}

}  // namespace

void collapse_repeats(UserEvents& events, ImportSummary& summary) {
  const std::size_t before = events.items.size();
  keep_events(events, 1,
              [](const std::uint32_t* last, std::uint32_t item) { return last == nullptr || *last != item; });
  summary.repeats_collapsed += static_cast<std::int64_t>(before - events.items.size());
}

std::vector<std::uint64_t> filter_events(const ImportOptions& options, std::int64_t items, EventBlocks& events,
                                         ImportSummary& summary) {
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(items));
  events.visit([&](const UserEvents& block) { add_counts(block, counts); });
  const Left read = left_of(events, counts);
  // A pass drops what the counts of the pass before call for, and counts anew.
  const auto pass = [&](std::uint64_t least_of_row, std::uint64_t least_of_item) {
    std::vector<std::uint64_t> next(counts.size());
    events.change([&](UserEvents& block) {
      keep_events(block, least_of_row, [&](auto, std::uint32_t item) { return counts[item] >= least_of_item; });
      add_counts(block, next);
    });
    counts = std::move(next);
  };
  std::int64_t before = options.k_core > 1 ? -1 : events.events();
  while (before != events.events()) {
    before = events.events();
    pass(static_cast<std::uint64_t>(options.k_core), static_cast<std::uint64_t>(options.k_core));
  }
  const Left core = left_of(events, counts);
  if (options.min_events > 1) pass(static_cast<std::uint64_t>(options.min_events), 1);
  const Left left = left_of(events, counts);
  summary.users_dropped_k_core = read.users - core.users;
  summary.items_dropped_k_core = read.items - core.items;
  summary.events_dropped_k_core = read.events - core.events;
  summary.users_dropped_min_events = core.users - left.users;
  summary.items_dropped_min_events = core.items - left.items;
  summary.events_dropped_min_events = core.events - left.events;
  return counts;
}

}  // namespace decant::data
