#include "data/event_log.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string>
#include <utility>

namespace decant::data {

EventLog::EventLog(bool times, bool parts, std::vector<LogColumn> columns, std::size_t memory_bytes,
                   DatasetFolder& folder)
    : columns_(std::move(columns)),
      events_(EventShape{times, parts, columns_.size()}),
      memory_bytes_(memory_bytes),
      storage_(EventStorage{folder, std::clamp<std::size_t>(memory_bytes / 64, 4096, std::size_t{1} << 20)}) {}

EventLog::EventLog(bool times, bool parts, std::vector<LogColumn> columns, HandOn hand_on)
    : columns_(std::move(columns)),
      events_(EventShape{times, parts, columns_.size()}),
      memory_bytes_(0),
      hand_on_(std::move(hand_on)) {}

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

void EventLog::append(std::span<const Run> runs, const UserEvents& events) {
  const auto join = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  join(runs_, runs);
  join(events_.items, events.items);
  join(events_.times, events.times);
  join(events_.parts, events.parts);
  for (std::size_t c = 0; c < columns_.size(); ++c) join(events_.columns[c], events.columns[c]);
  if (events_.items.size() >= next_check_) check_memory();
}

std::vector<StringTable*> EventLog::tables() {
  std::vector<StringTable*> out{&users_, &items_};
  for (LogColumn& column : columns_) out.push_back(&column.texts);
  return out;
}

void EventLog::flush() {
  if (!runs_.empty()) hand_on_(runs_, events_);
  runs_.clear();
  events_.clear();
  next_check_ = kEventsACheck;
}

void EventLog::check_memory() {
  if (hand_on_) return flush();
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
  if (on_disk_ == nullptr) on_disk_ = std::make_unique<Runs>(*storage_, events_.shape);
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
  EventBlocks blocks(*storage_);
  on_disk_->merge(memory_bytes_, [&](UserEvents& block) {
    prepare(block);
    blocks.append(block);
  });
  on_disk_.reset();
  return blocks;
}

}  // namespace decant::data
