#include "data/event_order.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "data/time_text.h"

namespace decant::data {

namespace {

void sort_by_time(UserEvents& events) {
  std::vector<std::uint32_t> order, items;
  std::vector<std::int64_t> times;
  for (std::size_t user = 0; user < events.users(); ++user) {
    const auto begin = static_cast<std::ptrdiff_t>(events.offsets[user]);
    const auto end = static_cast<std::ptrdiff_t>(events.offsets[user + 1]);
    if (std::is_sorted(events.times.begin() + begin, events.times.begin() + end)) continue;
    items.assign(events.items.begin() + begin, events.items.begin() + end);
    times.assign(events.times.begin() + begin, events.times.begin() + end);
    order.resize(items.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return times[a] < times[b]; });
    for (std::size_t i = 0; i < order.size(); ++i) {
      events.items[static_cast<std::size_t>(begin) + i] = items[order[i]];
      events.times[static_cast<std::size_t>(begin) + i] = times[order[i]];
    }
  }
}

/// Keeps the first of the events of a user with one time and item. REQUIRES: sorted by time.
std::int64_t drop_same(UserEvents& events) {
  std::uint64_t to = 0, from = 0;
  for (std::size_t user = 0; user < events.users(); ++user) {
    const std::uint64_t end = events.offsets[user + 1];
    std::uint64_t first_of_time = to;
    const std::uint64_t row = to;
    for (; from < end; ++from) {
      if (to == row || events.times[to - 1] != events.times[from]) first_of_time = to;
      const auto begin = events.items.begin();
      const auto last = begin + static_cast<std::ptrdiff_t>(to);
      if (std::find(begin + static_cast<std::ptrdiff_t>(first_of_time), last, events.items[from]) != last) continue;
      events.items[to] = events.items[from];
      events.times[to++] = events.times[from];
    }
    events.offsets[user + 1] = to;
  }
  const auto dropped = static_cast<std::int64_t>(events.items.size() - to);
  events.items.resize(to);
  events.times.resize(to);
  return dropped;
}

/// Each session becomes a user.
void cut_sessions(double minutes, UserEvents& events, TextColumn& users) {
  const auto gap = static_cast<Micros>(minutes * 60e6);
  TextColumn sessions;
  std::vector<std::uint64_t> offsets{0};
  for (std::size_t user = 0; user < events.users(); ++user) {
    const std::string name(users.at(static_cast<std::int64_t>(user)));
    std::int64_t number = 0;
    for (std::uint64_t at = events.offsets[user]; at < events.offsets[user + 1]; ++at) {
      const bool ends = at + 1 == events.offsets[user + 1] || events.times[at + 1] - events.times[at] > gap;
      if (!ends) continue;
      sessions.push_back(name + "#" + std::to_string(++number));
      offsets.push_back(at + 1);
    }
  }
  events.offsets = std::move(offsets);
  users = std::move(sessions);
}

}  // namespace

void order_events(const InteractionOptions& options, UserEvents& events, TextColumn& users, InteractionCounts& counts) {
  sort_by_time(events);
  if (options.same_event == "drop") counts.same_events = drop_same(events);
  if (options.session_gap > 0) {
    cut_sessions(options.session_gap, events, users);
    counts.sessions = static_cast<std::int64_t>(events.users());
  }
  const auto [first, last] = std::minmax_element(events.times.begin(), events.times.end());
  if (first != events.times.end()) counts.first_time = time_text(*first), counts.last_time = time_text(*last);
  events.times = {};
}

}  // namespace decant::data
