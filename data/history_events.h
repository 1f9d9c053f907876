// Histories from outside of the dataset whose events tell more than their items: read, put in the order of time and
// encoded as the import of the dataset does it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/options.h"
#include "data/column.h"
#include "data/column_options.h"
#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/event_columns.h"
#include "data/interaction_options.h"
#include "data/time_text.h"

namespace decant::data {

/// The number of an original id, -1 when the catalogue has none of that name.
using ItemNumber = std::function<std::int64_t(std::string_view id)>;

/// The events of one history, in the order of time.
struct HistoryEvents {
  std::vector<std::int64_t> items{};
  std::int64_t unknown = 0;          // events whose item has no number; they are left out
  std::vector<ValueBlock> values{};  // of each of HistoryFields::columns() those of the items; empty: nothing is known
};

/// What a history may say of its events, and what that becomes. The fields of an event are `item`, `time` (for the order,
/// and for "event.gap"), `event` ("event.kind") and the dataset's other columns of events by their names; one whose name
/// is taken goes by its full name.
class HistoryFields {
 public:
  /// `options`: of the dataset's import. `columns`: of the dataset's events. `asked`: full names of columns, of which
  /// those of events are read; what the others have is not looked at.
  HistoryFields(InteractionOptions options, std::vector<EventColumn> columns, const std::vector<std::string>& asked);
  HistoryFields(HistoryFields&&) = default;  // a copy's codes would be by texts of the original
  /// Those that are read, in the order of the dataset.
  [[nodiscard]] const std::vector<ColumnInfo>& columns() const { return columns_; }

  /// `list`: events, each an object of fields, or an id alone. Where events have times all must, and are sorted by them,
  /// those of one time in the order of the list. A value that is not there, or that training has not seen, is encoded as
  /// in training. Returns what is wrong, naming event (from 1) and field: a field that is not known, an event without
  /// item, a value that is none of its column, or that the import drops or refuses; empty when nothing is.
  [[nodiscard]] std::string read(const base::Json& list, const ItemNumber& number_of, HistoryEvents& out) const;

 private:
  static constexpr std::size_t kNotRead = static_cast<std::size_t>(-1);
  struct Field {
    std::string name;
    std::size_t column = kNotRead;  // place in columns_
  };
  /// How the texts of a column become values.
  struct Reading {
    ColumnOptions options;                                      // of a number
    TextColumn texts;                                           // of a category
    std::unordered_map<std::string_view, std::uint32_t> codes;  // by text
  };
  struct Draft;

  /// Its place; fields_.size() when there is none of that name.
  [[nodiscard]] std::size_t find(std::string_view name) const;
  void add_field(const ColumnInfo& info, std::size_t column);
  [[nodiscard]] std::string read_event(const base::Json& event, const ItemNumber& number_of, Draft& draft) const;
  [[nodiscard]] std::string take_fields(const base::Json& event, std::vector<std::string>& texts) const;
  [[nodiscard]] std::string encode(std::size_t column, std::string_view text, std::uint32_t& value) const;

  InteractionOptions options_;
  TimeReader times_;
  std::vector<Field> fields_;  // the first two are item and time
  std::vector<ColumnInfo> columns_;
  std::vector<Reading> readings_;  // of each
};

/// What histories may say of a dataset's events. Throws DataError when the manifest's import options cannot be read. A
/// dataset without any, which another program wrote, has their defaults.
[[nodiscard]] HistoryFields history_fields(const Dataset& dataset, const std::vector<std::string>& asked);

}  // namespace decant::data
