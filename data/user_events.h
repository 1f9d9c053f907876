// Events by row, as an import holds and changes them: an array of items, and one of each thing else that the log tells.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace decant::data {

/// Whose events a row has.
struct RowName {
  std::uint32_t user = 0;     // in order of first appearance
  std::uint32_t session = 0;  // from 1; 0: all of the user's events
};

/// What events have beside an item.
struct EventShape {
  bool times = false;       // microseconds since 1970
  bool parts = false;       // of the split: 0 training, 1 valid, 2 test
  std::size_t columns = 0;  // of 32 bits: the number of a category's text, or a float
  /// Bytes of one event.
  [[nodiscard]] std::size_t event_bytes() const {
    return (1 + columns) * sizeof(std::uint32_t) + (times ? sizeof(std::int64_t) : 0) + (parts ? 1 : 0);
  }
};

/// Row r has the events [offsets[r], offsets[r + 1]).
struct UserEvents {
  UserEvents() = default;
  explicit UserEvents(const EventShape& of) : shape(of), columns(of.columns) {}

  EventShape shape;
  std::vector<RowName> rows;
  std::vector<std::uint64_t> offsets{0};
  std::vector<std::uint32_t> items;
  std::vector<std::int64_t> times;
  std::vector<std::uint8_t> parts;
  std::vector<std::vector<std::uint32_t>> columns;

  [[nodiscard]] std::size_t size() const { return rows.size(); }
  [[nodiscard]] std::span<const std::uint32_t> items_of(std::size_t row) const {
    return std::span(items).subspan(offsets[row], offsets[row + 1] - offsets[row]);
  }

  /// Calls visit(array) for every array that has one value an event.
  template <class Visit>
  void visit_arrays(const Visit& visit) {
    visit(items);
    visit_details(visit);
  }
  /// All of them but the items.
  template <class Visit>
  void visit_details(const Visit& visit) {
    if (shape.times) visit(times);
    if (shape.parts) visit(parts);
    for (auto& column : columns) visit(column);
  }
  [[nodiscard]] bool plain() const { return !shape.times && !shape.parts && columns.empty(); }

  /// Puts event `from` at place `to`, of all arrays.
  void move_event(std::uint64_t from, std::uint64_t to) {
    items[to] = items[from];
    if (!plain()) visit_details([&](auto& values) { values[to] = values[from]; });
  }
  void resize_events(std::uint64_t count) {
    visit_arrays([&](auto& values) { values.resize(count); });
  }
  void drop_times() {
    shape.times = false;
    times = {};
  }
  void clear() {
    rows.clear();
    offsets.assign(1, 0);
    visit_arrays([](auto& values) { values.clear(); });
  }
};

}  // namespace decant::data
