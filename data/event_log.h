// What importers collect: texts turned into dense numbers, and events in the order of the files.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/dataset_layout.h"

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

/// Events by user: user u has items[offsets[u], offsets[u + 1]).
struct UserEvents {
  std::vector<std::uint64_t> offsets{0};
  std::vector<std::uint32_t> items;
  std::vector<std::int64_t> times;  // of each event; none: they are in the order of time
  [[nodiscard]] std::size_t users() const { return offsets.size() - 1; }
};

class EventLog {
 public:
  /// Appends to what is known of the user.
  void add(std::string_view user, std::span<const std::string_view> items);
  /// One event with its time. REQUIRES: every event has one, or none has.
  void add(std::string_view user, std::string_view item, std::int64_t time);
  [[nodiscard]] const TextColumn& users() const { return users_.texts(); }
  [[nodiscard]] const TextColumn& items() const { return items_.texts(); }
  /// Gathers each user's events, users in order of first appearance; the log's own copy is freed.
  [[nodiscard]] UserEvents take();

 private:
  /// Consecutive events of one user.
  struct Run {
    std::uint32_t user = 0;
    std::uint64_t events = 0;
  };
  StringTable users_, items_;
  std::vector<StringTable::Key> keys_;  // of the line being added
  std::vector<Run> runs_;
  std::vector<std::uint32_t> events_;
  std::vector<std::int64_t> times_;
};

}  // namespace decant::data
