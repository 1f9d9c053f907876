// What importers collect: texts turned into dense numbers, and events in the order of the files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data/column.h"
#include "data/column_options.h"
#include "data/dataset_layout.h"
#include "data/event_blocks.h"
#include "data/user_events.h"

namespace decant::data {

/// Distinct texts, numbered by first appearance. An open-addressing table that holds short texts themselves, so that
/// finding one touches one cache line; parsing is otherwise much cheaper than numbering.
class StringTable {
 public:
  /// A text made ready for look-up.
  struct Key {
    std::uint64_t word = 0;  // the text itself when it has at most 8 bytes, else its hash
    std::uint64_t hash = 0;
    std::string_view text;
  };
  [[nodiscard]] static Key key_of(std::string_view text);

  StringTable() : slots_(1 << 12) {}
  /// Asks for the key's cache line, for those who know their next keys.
  void prefetch(const Key& key) const { __builtin_prefetch(&slots_[key.hash & (slots_.size() - 1)]); }
  /// Throws DataError beyond 2^32 - 2 texts.
  std::uint32_t number_of(const Key& key);
  [[nodiscard]] const TextColumn& texts() const { return texts_; }
  /// For those who replace texts: nothing can be numbered any more then.
  [[nodiscard]] TextColumn& texts() { return texts_; }

 private:
  struct Slot {
    std::uint64_t word = 0;
    std::uint32_t size = 0;
    std::uint32_t number = kFree;
  };
  static constexpr std::uint32_t kFree = 0xffffffffU;
  [[nodiscard]] bool holds(const Slot& slot, const Key& key) const;
  std::uint32_t insert(std::size_t at, const Key& key);
  void grow();

  TextColumn texts_;
  std::vector<Slot> slots_;
};

/// A column of events beside the item, as the log has it: see EventShape.
struct LogColumn {
  ColumnInfo info;
  ColumnOptions options;
  StringTable texts;  // of a category: its distinct values
};

/// A category's value that is not there; a number's is NaN.
inline constexpr std::uint32_t kNoText = 0xffffffffU;

/// Collects events, and puts sorted runs of them on disk when they need more memory than allowed. Ids and texts always stay
/// in memory.
class EventLog {
 public:
  /// `times`, `parts`: whether events have them. `memory_bytes`: for all but ids and texts.
  EventLog(bool times, bool parts, std::vector<LogColumn> columns, std::size_t memory_bytes, DatasetFolder& folder);
  ~EventLog();

  /// Appends to what is known of the user.
  void add(std::string_view user, std::span<const std::string_view> items);
  /// One event with its time, where the log has them, and its values of the columns.
  void add(std::string_view user, std::string_view item, std::int64_t time, std::span<const std::uint32_t> values = {});
  /// The part of the split of the events that follow, where the log has parts.
  void set_part(std::uint8_t part) { part_ = part; }

  [[nodiscard]] const TextColumn& users() const { return users_.texts(); }
  [[nodiscard]] const TextColumn& items() const { return items_.texts(); }
  [[nodiscard]] std::vector<LogColumn>& columns() { return columns_; }
  /// Lets `change` replace the ids. REQUIRES: all events are taken.
  void rename(const std::function<void(TextColumn& users, TextColumn& items)>& change) {
    change(users_.texts(), items_.texts());
  }

  /// Gathers each user's events, users in order of first appearance, and lets `prepare` change every block of them; the
  /// log's own copy is freed.
  [[nodiscard]] EventBlocks take(const EventBlocks::Change& prepare);

 private:
  /// Consecutive events of one user.
  struct Run {
    std::uint32_t user = 0, events = 0;
  };
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
  EventStorage storage_;
};

}  // namespace decant::data
