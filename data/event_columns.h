// Columns of events: their values by row, and as batches have them, one beside each token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "data/column.h"
#include "data/packed_batch.h"

namespace decant::data {

/// The values of one column for the events of one row: the span of its kind.
struct EventValues {
  std::span<const std::uint32_t> codes;  // category
  std::span<const float> numbers;        // number, weight
  std::span<const std::int64_t> times;   // time: microseconds since 1970-01-01 00:00 UTC
};

/// The values of one column for some events; one of the three is filled, by the column's kind.
struct ValueBlock {
  std::vector<std::uint32_t> codes;
  std::vector<float> numbers;
  std::vector<std::int64_t> times;
  [[nodiscard]] EventValues all() const { return {codes, numbers, times}; }
};

class EventColumns {
 public:
  EventColumns() = default;
  /// Categories and numbers, "event.gap" among them.
  explicit EventColumns(std::vector<ColumnInfo> columns) : columns_(std::move(columns)) {}
  [[nodiscard]] const std::vector<ColumnInfo>& columns() const { return columns_; }
  /// Appends the columns, empty. REQUIRES: before any add() to this batch.
  void begin(PackedBatch& batch) const;
  /// What columns()[column] has of the events [first, first + count) of a row, whose values are `row`, of the gap its
  /// times. A row without values has none of any event.
  void add(PackedBatch& batch, std::size_t column, const EventValues& row, std::size_t first, std::size_t count) const;

 private:
  std::vector<ColumnInfo> columns_;
};

}  // namespace decant::data
