// Distinct texts as dense numbers.
#pragma once

#include <cstddef>
#include <cstdint>
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

  StringTable() : slots_(1 << 6) {}
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

}  // namespace decant::data
