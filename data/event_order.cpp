#include "data/event_order.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>
#include <vector>

namespace decant::data {

namespace {

/// Brings values[begin, begin + order.size()) into an order.
template <class T>
void permute(std::vector<T>& values, std::uint64_t begin, const std::vector<std::uint32_t>& order,
             std::vector<T>& copy) {
  const auto first = values.begin() + static_cast<std::ptrdiff_t>(begin);
  copy.assign(first, first + static_cast<std::ptrdiff_t>(order.size()));
  for (std::size_t i = 0; i < order.size(); ++i) values[begin + i] = copy[order[i]];
}

/// Copies of a row's values while they are put in order.
struct Scratch {
  std::vector<std::uint32_t> order, words;
  std::vector<std::int64_t> times;
  std::vector<std::uint8_t> parts;
  std::vector<std::uint32_t>& of(const std::vector<std::uint32_t>&) { return words; }
  std::vector<std::int64_t>& of(const std::vector<std::int64_t>&) { return times; }
  std::vector<std::uint8_t>& of(const std::vector<std::uint8_t>&) { return parts; }
};

/// Events that their file puts after others of the row which are later in time. REQUIRES: sorted.
std::int64_t count_against_split(const UserEvents& events) {
  std::int64_t found = 0;
  for (std::size_t row = 0; row < events.size(); ++row) {
    Micros latest = std::numeric_limits<Micros>::min();
    for (std::uint64_t at = events.offsets[row]; at < events.offsets[row + 1]; ++at) {
      found += events.times[at] < latest;
      latest = std::max(latest, events.times[at]);
    }
  }
  return found;
}

/// Keeps the first of the events of a row with one time and item. REQUIRES: sorted.
std::int64_t drop_same(UserEvents& events) {
  std::uint64_t to = 0, from = 0;
  for (std::size_t row = 0; row < events.size(); ++row) {
    const std::uint64_t end = events.offsets[row + 1];
    std::uint64_t first_of_time = to;
    const std::uint64_t start = to;
    for (; from < end; ++from) {
      if (to == start || events.times[to - 1] != events.times[from]) first_of_time = to;
      const auto begin = events.items.begin();
      const auto last = begin + static_cast<std::ptrdiff_t>(to);
      if (std::find(begin + static_cast<std::ptrdiff_t>(first_of_time), last, events.items[from]) != last) continue;
      events.move_event(from, to++);
    }
    events.offsets[row + 1] = to;
  }
  const auto dropped = static_cast<std::int64_t>(events.items.size() - to);
  events.resize_events(to);
  return dropped;
}

/// Each session becomes a row.
void cut_sessions(double minutes, UserEvents& events) {
  const auto gap = static_cast<Micros>(minutes * 60e6);
  std::vector<RowName> sessions;
  std::vector<std::uint64_t> offsets{0};
  for (std::size_t row = 0; row < events.size(); ++row) {
    std::uint32_t number = 0;
    for (std::uint64_t at = events.offsets[row]; at < events.offsets[row + 1]; ++at) {
      // Files of a split may be out of order in time; a step back is a gap as well.
      const bool ends = at + 1 == events.offsets[row + 1] || std::abs(events.times[at + 1] - events.times[at]) > gap;
      if (!ends) continue;
      sessions.push_back({events.rows[row].user, ++number});
      offsets.push_back(at + 1);
    }
  }
  events.offsets = std::move(offsets);
  events.rows = std::move(sessions);
}

}  // namespace

void sort_rows(UserEvents& events) {
  Scratch scratch;
  for (std::size_t row = 0; row < events.size(); ++row) {
    const std::uint64_t begin = events.offsets[row], count = events.offsets[row + 1] - begin;
    const auto* times = events.times.data() + begin;
    const auto* parts = events.shape.parts ? events.parts.data() + begin : nullptr;
    const auto before = [&](std::uint64_t a, std::uint64_t b) {
      if (parts != nullptr && parts[a] != parts[b]) return parts[a] < parts[b];
      return times[a] < times[b];
    };
    std::uint64_t sorted = 1;
    while (sorted < count && !before(sorted, sorted - 1)) ++sorted;
    if (sorted >= count) continue;
    scratch.order.resize(count);
    std::iota(scratch.order.begin(), scratch.order.end(), 0U);
    std::stable_sort(scratch.order.begin(), scratch.order.end(), before);
    events.visit_arrays([&](auto& values) { permute(values, begin, scratch.order, scratch.of(values)); });
  }
}

void EventOrder::operator()(UserEvents& events) {
  sort_rows(events);
  if (events.shape.parts) counts_.against_split += count_against_split(events);
  if (options_.same_event == "drop") counts_.same_events += drop_same(events);
  if (options_.session_gap > 0) {
    cut_sessions(options_.session_gap, events);
    counts_.sessions += static_cast<std::int64_t>(events.size());
  }
  for (const Micros time : events.times) first_ = std::min(first_, time), last_ = std::max(last_, time);
  if (!options_.keep_time) events.drop_times();
}

void EventOrder::finish() {
  if (first_ <= last_) counts_.first_time = time_text(first_), counts_.last_time = time_text(last_);
}

}  // namespace decant::data
