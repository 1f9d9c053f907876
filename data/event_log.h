// What importers collect: texts turned into dense numbers, and events in the order of the files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "data/column.h"
#include "data/column_options.h"
#include "data/dataset_layout.h"
#include "data/event_blocks.h"
#include "data/string_table.h"
#include "data/user_events.h"

namespace decant::data {

/// A column of events beside the item, as the log has it: see EventShape.
struct LogColumn {
  ColumnInfo info;
  ColumnOptions options;
  StringTable texts;  // of a category: its distinct values
};

/// A category's value that is not there; a number's is NaN.
inline constexpr std::uint32_t kNoText = 0xffffffffU;

/// Collects events, and puts sorted runs of them on disk when they need more memory than allowed; or hands them on, and keeps
/// none. Ids and texts always stay in memory.
class EventLog {
 public:
  /// Consecutive events of one user.
  struct Run {
    std::uint32_t user = 0, events = 0;
  };
  /// Is given the next events in the order of the log: their runs, and their arrays without rows.
  using HandOn = std::function<void(std::span<const Run> runs, UserEvents& events)>;

  /// `times`, `parts`: whether events have them. `memory_bytes`: for all but ids and texts.
  EventLog(bool times, bool parts, std::vector<LogColumn> columns, std::size_t memory_bytes, DatasetFolder& folder);
  /// Hands its events on, some thousands at a time. take() is not for such a log.
  EventLog(bool times, bool parts, std::vector<LogColumn> columns, HandOn hand_on);
  ~EventLog();

  /// Appends to what is known of the user.
  void add(std::string_view user, std::span<const std::string_view> items);
  /// One event with its time, where the log has them, and its values of the columns.
  void add(std::string_view user, std::string_view item, std::int64_t time, std::span<const std::uint32_t> values = {});
  /// Events that another log has handed on, by the numbers of this one's tables.
  void append(std::span<const Run> runs, const UserEvents& events);
  /// The part of the split of the events that follow, where the log has parts.
  void set_part(std::uint8_t part) { part_ = part; }

  [[nodiscard]] const TextColumn& users() const { return users_.texts(); }
  [[nodiscard]] const TextColumn& items() const { return items_.texts(); }
  [[nodiscard]] std::vector<LogColumn>& columns() { return columns_; }
  /// Those of users, items, and of each column; a number's is empty.
  [[nodiscard]] std::vector<StringTable*> tables();
  /// Hands on what is left.
  void flush();
  /// Lets `change` replace the ids. REQUIRES: all events are taken.
  void rename(const std::function<void(TextColumn& users, TextColumn& items)>& change) {
    change(users_.texts(), items_.texts());
  }

  /// Gathers each user's events, users in order of first appearance, and lets `prepare` change every block of them; the
  /// log's own copy is freed.
  [[nodiscard]] EventBlocks take(const EventBlocks::Change& prepare);

 private:
  class Runs;  // those on disk
  void check_memory();
  void spill();
  [[nodiscard]] UserEvents gather();

  StringTable users_, items_;
  std::vector<LogColumn> columns_;
  std::vector<StringTable::Key> keys_;  // of the line being added
  std::vector<Run> runs_;
  UserEvents events_;  // in the order of the log, without rows
  std::uint8_t part_ = 0;
  std::size_t memory_bytes_, next_check_ = kEventsACheck;
  static constexpr std::size_t kEventsACheck = 4096;
  std::unique_ptr<Runs> on_disk_;
  std::optional<EventStorage> storage_;
  HandOn hand_on_;
};

}  // namespace decant::data
