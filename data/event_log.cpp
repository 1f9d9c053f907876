#include "data/event_log.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <queue>
#include <string>
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

EventLog::EventLog(bool times, bool parts, std::vector<LogColumn> columns, std::size_t memory_bytes,
                   DatasetFolder& folder)
    : columns_(std::move(columns)),
      events_(EventShape{times, parts, columns_.size()}),
      memory_bytes_(memory_bytes),
      storage_{folder, std::clamp<std::size_t>(memory_bytes / 64, 4096, std::size_t{1} << 20)} {}

EventLog::~EventLog() = default;

void EventLog::add(std::string_view user, std::span<const std::string_view> items) {
  constexpr std::size_t kMostOfARun = 0xffffffffU;
  // Logs often have one event a line, a user's lines together.
  if (runs_.empty() || users_.texts().at(runs_.back().user) != user || items.size() > kMostOfARun - runs_.back().events)
    runs_.push_back({users_.number_of(StringTable::key_of(user)), 0});
  keys_.clear();
  for (const std::string_view item : items) {
    keys_.push_back(StringTable::key_of(item));
    items_.prefetch(keys_.back());
  }
  for (const StringTable::Key& key : keys_) events_.items.push_back(items_.number_of(key));
  if (events_.shape.parts) events_.parts.resize(events_.items.size(), part_);
  runs_.back().events += static_cast<std::uint32_t>(items.size());
  if (events_.items.size() >= next_check_) check_memory();
}

void EventLog::add(std::string_view user, std::string_view item, std::int64_t time,
                   std::span<const std::uint32_t> values) {
  // Before the event itself, which may be the one that is too much.
  if (events_.shape.times) events_.times.push_back(time);
  for (std::size_t c = 0; c < values.size(); ++c) events_.columns[c].push_back(values[c]);
  add(user, std::span(&item, 1));
}

void EventLog::check_memory() {
  // Gathering makes a second copy of the events; sorting runs needs their order and places.
  const std::size_t events = events_.items.size(), kOfARun = sizeof(Run) + 2 * sizeof(std::uint64_t);
  constexpr std::size_t kMostRuns = 0xf0000000U;  // a run's number has 32 bits in spill()
  if (2 * events * events_.shape.event_bytes() + runs_.size() * kOfARun > memory_bytes_ || runs_.size() > kMostRuns)
    spill();
  next_check_ = events_.items.size() + kEventsACheck;
}

/// Sorted runs on disk. A piece is a user, a number of events and their arrays; a run has its pieces in order of users, and
/// those of one user in the order of the log.
class EventLog::Runs {
 public:
  Runs(const EventStorage& storage, const EventShape& shape) : storage_(storage), shape_(shape) {}

  void begin() { files_.push_back(storage_.make("run-" + std::to_string(files_.size()))); }
  void add(const Run& run, UserEvents& events, std::size_t first) {
    ScratchFile& file = *files_.back();
    file.write(std::as_bytes(std::span(&run, 1)));
    events.visit_arrays([&](auto& values) { file.write(std::as_bytes(std::span(values).subspan(first, run.events))); });
  }
  void end() { files_.back()->rest(); }

  /// Calls `visit` for blocks, users in order. A block takes about an eighth of `memory_bytes`, twice that and more while
  /// it grows; the buffers of all runs take a quarter.
  void merge(std::size_t memory_bytes, const EventBlocks::Change& visit) {
    const std::size_t block_bytes = memory_bytes / 8;
    const std::size_t buffer = std::clamp<std::size_t>(memory_bytes / 4 / files_.size(), 4096, std::size_t{1} << 20);
    struct Next {
      Run run;
      std::size_t file;
      bool operator>(const Next& other) const {
        return run.user != other.run.user ? run.user > other.run.user : file > other.file;
      }
    };
    std::priority_queue<Next, std::vector<Next>, std::greater<>> pieces;
    const auto advance = [&](std::size_t file) {
      Run run;
      if (files_[file]->read_next(std::as_writable_bytes(std::span(&run, 1))))
        pieces.push({run, file});
      else
        files_[file].reset();
    };
    for (std::size_t file = 0; file < files_.size(); ++file) {
      files_[file]->rewind(buffer);
      advance(file);
    }
    UserEvents block(shape_);
    while (!pieces.empty()) {
      const auto [run, file] = pieces.top();
      pieces.pop();
      const bool same = !block.rows.empty() && block.rows.back().user == run.user;
      if (!same && block.items.size() * shape_.event_bytes() >= block_bytes) {
        visit(block);
        block = UserEvents(shape_);
      }
      append(*files_[file], run, block);
      advance(file);
    }
    if (!block.rows.empty()) visit(block);
  }

 private:
  static void append(ScratchFile& file, const Run& run, UserEvents& block) {
    if (block.rows.empty() || block.rows.back().user != run.user) {
      block.rows.push_back({run.user, 0});
      block.offsets.push_back(block.offsets.back());
    }
    const std::size_t before = block.items.size();
    block.visit_arrays([&](auto& values) {
      values.resize(before + run.events);
      file.read(std::as_writable_bytes(std::span(values).subspan(before)));
    });
    block.offsets.back() += run.events;
  }

  EventStorage storage_;
  EventShape shape_;
  std::vector<std::unique_ptr<ScratchFile>> files_;
};

void EventLog::spill() {
  if (on_disk_ == nullptr) on_disk_ = std::make_unique<Runs>(storage_, events_.shape);
  std::vector<std::uint64_t> places(runs_.size()), order(runs_.size());
  std::uint64_t place = 0;
  for (std::size_t r = 0; r < runs_.size(); ++r) {
    places[r] = std::exchange(place, place + runs_[r].events);
    order[r] = static_cast<std::uint64_t>(runs_[r].user) << 32 | r;
  }
  std::sort(order.begin(), order.end());
  on_disk_->begin();
  for (const std::uint64_t key : order) {
    const auto r = static_cast<std::size_t>(key & 0xffffffffU);
    on_disk_->add(runs_[r], events_, places[r]);
  }
  on_disk_->end();
  runs_.clear();
  events_.clear();
}

UserEvents EventLog::gather() {
  UserEvents out(events_.shape);
  const auto users = static_cast<std::size_t>(this->users().size());
  out.offsets.assign(users + 1, 0);
  for (const Run& run : runs_) out.offsets[run.user + 1] += run.events;
  for (std::size_t u = 0; u < users; ++u) {
    out.offsets[u + 1] += out.offsets[u];
    out.rows.push_back({static_cast<std::uint32_t>(u), 0});
  }
  // One array at a time: the log's own is freed before the next.
  const auto move = [&](auto& from, auto& to) {
    if (from.empty()) return;  // the log does not have these
    to.resize(from.size());
    std::vector<std::uint64_t> next(out.offsets.begin(), out.offsets.end() - 1);
    auto at = from.begin();
    for (const Run& run : runs_) {
      std::copy_n(at, run.events, to.begin() + static_cast<std::ptrdiff_t>(next[run.user]));
      at += static_cast<std::ptrdiff_t>(run.events);
      next[run.user] += run.events;
    }
    from = {};
  };
  move(events_.items, out.items);
  move(events_.times, out.times);
  move(events_.parts, out.parts);
  for (std::size_t c = 0; c < out.columns.size(); ++c) move(events_.columns[c], out.columns[c]);
  runs_ = {};
  return out;
}

EventBlocks EventLog::take(const EventBlocks::Change& prepare) {
  if (on_disk_ == nullptr) {
    UserEvents whole = gather();
    prepare(whole);
    return EventBlocks(std::move(whole));
  }
  spill();
  runs_ = {};
  events_ = UserEvents(events_.shape);
  EventBlocks blocks(storage_);
  on_disk_->merge(memory_bytes_, [&](UserEvents& block) {
    prepare(block);
    blocks.append(block);
  });
  on_disk_.reset();
  return blocks;
}

}  // namespace decant::data
