#include "data/event_filters.h"

#include <algorithm>
#include <limits>

namespace decant::data {

namespace {

/// Keeps, in place, the events that `keep(row's items so far, item)` wants; rows left with fewer than `least` events
/// lose them all.
template <class Keep>
void keep_events(UserEvents& events, std::uint64_t least, const Keep& keep) {
  std::uint64_t to = 0, begin = 0;
  for (std::size_t user = 0; user < events.users(); ++user) {
    const std::uint64_t end = events.offsets[user + 1], start = to;
    for (std::uint64_t i = begin; i < end; ++i) {
      const std::uint32_t item = events.items[i];
      if (keep(to > start ? &events.items[to - 1] : nullptr, item)) events.items[to++] = item;
    }
    if (to - start < least) to = start;
    begin = end;
    events.offsets[user + 1] = to;
  }
  events.items.resize(to);
}

std::vector<std::uint64_t> count_items(const UserEvents& events, std::int64_t items) {
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(items));
  for (const std::uint32_t item : events.items) ++counts[item];
  return counts;
}

struct Counts {
  std::int64_t users = 0, items = 0, events = 0;
};

Counts count(const UserEvents& events, std::int64_t items) {
  Counts out;
  for (std::size_t user = 0; user < events.users(); ++user)
    out.users += events.offsets[user + 1] > events.offsets[user];
  for (const std::uint64_t n : count_items(events, items)) out.items += n > 0;
  out.events = static_cast<std::int64_t>(events.items.size());
  return out;
}

void apply_k_core(UserEvents& events, std::int64_t items, std::uint64_t k) {
  std::size_t before = 0;
  do {
    before = events.items.size();
    const std::vector<std::uint64_t> counts = count_items(events, items);
    keep_events(events, k, [&](const std::uint32_t*, std::uint32_t item) { return counts[item] >= k; });
  } while (events.items.size() != before);
}

}  // namespace

void filter_events(const ImportOptions& options, std::int64_t items, UserEvents& events, ImportSummary& summary) {
  if (options.duplicates == "collapse") {
    const std::size_t before = events.items.size();
    keep_events(events, 0,
                [](const std::uint32_t* last, std::uint32_t item) { return last == nullptr || *last != item; });
    summary.repeats_collapsed = static_cast<std::int64_t>(before - events.items.size());
  }
  const Counts read = count(events, items);
  if (options.k_core > 1) apply_k_core(events, items, static_cast<std::uint64_t>(options.k_core));
  const Counts core = count(events, items);
  if (options.min_events > 1)
    keep_events(events, static_cast<std::uint64_t>(options.min_events), [](auto, auto) { return true; });
  const Counts left = count(events, items);
  summary.users_dropped_k_core = read.users - core.users;
  summary.items_dropped_k_core = read.items - core.items;
  summary.events_dropped_k_core = read.events - core.events;
  summary.users_dropped_min_events = core.users - left.users;
  summary.items_dropped_min_events = core.items - left.items;
  summary.events_dropped_min_events = core.events - left.events;
}

DatasetContent compact(const UserEvents& events, const TextColumn& users, const TextColumn& items) {
  DatasetContent out;
  std::vector<std::uint32_t> number(static_cast<std::size_t>(items.size()));
  const std::vector<std::uint64_t> counts = count_items(events, items.size());
  for (std::int64_t item = 0; item < items.size(); ++item) {
    const auto i = static_cast<std::size_t>(item);
    if (counts[i] == 0) continue;
    number[i] = static_cast<std::uint32_t>(out.items.size());
    out.items.push_back(items.at(item));
  }
  for (std::size_t user = 0; user < events.users(); ++user) {
    if (events.offsets[user + 1] == events.offsets[user]) continue;
    out.users.push_back(users.at(static_cast<std::int64_t>(user)));
    out.offsets.push_back(events.offsets[user + 1]);
  }
  out.events.reserve(events.items.size());
  for (const std::uint32_t item : events.items) out.events.push_back(number[item]);
  return out;
}

}  // namespace decant::data
