#include "data/string_table.h"

#include <cstring>
#include <utility>

#include "base/random.h"
#include "data/errors.h"

namespace decant::data {

namespace {

constexpr std::size_t kWord = 8;

template <class Word>
std::uint64_t load(const char* from) {
  Word word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

/// A text of at most 8 bytes as a number: with its size, it tells the text. Without a call of memcpy, which costs more
/// than all else for so few bytes.
std::uint64_t short_word(std::string_view text) {
  const char* end = text.data() + text.size();
  if (text.size() == kWord) return load<std::uint64_t>(text.data());
  if (text.size() >= 4) return load<std::uint32_t>(text.data()) | load<std::uint32_t>(end - 4) << 32;
  if (text.size() >= 2) return load<std::uint16_t>(text.data()) | load<std::uint16_t>(end - 2) << 16;
  return text.empty() ? 0 : static_cast<unsigned char>(text.front());
}

std::uint64_t long_hash(std::string_view text) {
  std::uint64_t hash = text.size();
  const char* last = text.data() + text.size() - kWord;  // the last word may overlap the one before
  for (const char* at = text.data(); at < last; at += kWord) hash = base::mix64(hash ^ load<std::uint64_t>(at));
  return base::mix64(hash ^ load<std::uint64_t>(last));
}

}  // namespace

StringTable::Key StringTable::key_of(std::string_view text) {
  const std::uint64_t word = text.size() <= kWord ? short_word(text) : long_hash(text);
  return {word, base::mix64(word ^ text.size() << 56), text};
}

bool StringTable::holds(const Slot& slot, const Key& key) const {
  if (slot.word != key.word || slot.size != key.text.size()) return false;
  return key.text.size() <= kWord || texts_.at(slot.number) == key.text;
}

std::uint32_t StringTable::number_of(const Key& key) {
  std::size_t at = key.hash & (slots_.size() - 1);
  while (slots_[at].number != kFree) {
    if (holds(slots_[at], key)) return slots_[at].number;
    at = (at + 1) & (slots_.size() - 1);
  }
  return insert(at, key);
}

std::uint32_t StringTable::insert(std::size_t at, const Key& key) {
  const auto number = static_cast<std::uint64_t>(texts_.size());
  if (number >= kFree) throw DataError("", "there are over 4,294,967,294 distinct ids");
  slots_[at] = {key.word, static_cast<std::uint32_t>(key.text.size()), static_cast<std::uint32_t>(number)};
  texts_.push_back(key.text);
  if (2 * (number + 1) > slots_.size()) grow();
  return static_cast<std::uint32_t>(number);
}

void StringTable::grow() {
  std::vector<Slot> larger(2 * slots_.size());
  for (const Slot& slot : slots_) {
    if (slot.number == kFree) continue;
    const std::uint64_t hash = base::mix64(slot.word ^ static_cast<std::uint64_t>(slot.size) << 56);
    std::size_t at = hash & (larger.size() - 1);
    while (larger[at].number != kFree) at = (at + 1) & (larger.size() - 1);
    larger[at] = slot;
  }
  slots_ = std::move(larger);
}

}  // namespace decant::data
