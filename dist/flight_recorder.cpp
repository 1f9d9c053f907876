#include "dist/flight_recorder.h"

#include <algorithm>
#include <cstdio>

namespace decant::dist {

namespace {

using Clock = RecorderClock;

/// The finaliser of splitmix64 over the hash so far and one more word.
std::uint64_t mix(std::uint64_t hash, std::uint64_t word) {
  std::uint64_t x = hash + 0x9e3779b97f4a7c15u + word;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

std::int64_t milliseconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
}

std::string line_of(const CollectiveRecord& record, Clock::time_point now) {
  const Clock::time_point none{};
  std::array<char, 96> times{};
  std::snprintf(times.data(), times.size(), "started %.3f s ago",
                std::chrono::duration<double>(now - record.started).count());
  std::string out = std::string(name_of(record.kind)) + " #" + std::to_string(record.sequence) + " of " +
                    std::to_string(record.bytes) + " bytes, " + record.place.text() + ", " + times.data();
  if (record.waiting != none)
    out += ", waited " +
           std::to_string(milliseconds_between(record.waiting, record.finished != none ? record.finished : now)) +
           " ms";
  return out + (record.finished != none ? "" : ", not finished");
}

}  // namespace

std::string_view name_of(CollectiveKind kind) {
  constexpr std::array<std::string_view, 10> kNames{"nothing",      "all_reduce",     "broadcast",  "all_gather",
                                                    "all_to_all",   "barrier",        "rendezvous", "all_reduce_host",
                                                    "gather_bytes", "broadcast_bytes"};
  const auto index = static_cast<std::size_t>(kind);
  return index < kNames.size() ? kNames[index] : "something";
}

bool same_bytes_everywhere(CollectiveKind kind) {
  return kind != CollectiveKind::kGatherBytes && kind != CollectiveKind::kBroadcastBytes &&
         kind != CollectiveKind::kAllToAll;
}

void Place::set(std::string_view text, std::int64_t at_step) {
  name.fill('\0');
  std::copy_n(text.begin(), std::min(text.size(), name.size() - 1), name.begin());
  step = at_step;
}

std::string Place::text() const {
  const std::string what(name.data());
  return step < 0 ? what : what + " step " + std::to_string(step);
}

std::optional<CollectiveBrief> Standing::brief(std::int64_t sequence) const {
  if (sequence < 0 || sequence >= begun || sequence < begun - kBriefs) return std::nullopt;
  return last[static_cast<std::size_t>(sequence % kBriefs)];
}

void FlightRecorder::stand_at(std::string_view place, std::int64_t step) {
  const std::lock_guard lock(mutex_);
  place_.set(place, step);
}

std::int64_t FlightRecorder::start(CollectiveKind kind, std::int64_t bytes) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  hash_ = mix(mix(hash_, static_cast<std::uint64_t>(kind)),
              same_bytes_everywhere(kind) ? static_cast<std::uint64_t>(bytes) : 0);
  const std::int64_t sequence = begun_++;
  ring_[static_cast<std::size_t>(sequence % kKept)] = {
      .sequence = sequence, .kind = kind, .bytes = bytes, .place = place_, .started = now, .hash = hash_};
  return sequence;
}

CollectiveRecord* FlightRecorder::at(std::int64_t sequence) {
  CollectiveRecord& record = ring_[static_cast<std::size_t>(sequence % kKept)];
  return record.sequence == sequence ? &record : nullptr;
}

void FlightRecorder::wait_begins(std::int64_t sequence) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  waiting_ = sequence;
  if (CollectiveRecord* record = at(sequence)) record->waiting = now;
}

void FlightRecorder::finish(std::int64_t sequence) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  if (waiting_ == sequence) waiting_ = -1;
  if (CollectiveRecord* record = at(sequence); record != nullptr && record->finished == Clock::time_point{})
    record->finished = now;
}

Standing FlightRecorder::standing() const {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  Standing out{.place = place_, .begun = begun_, .hash = hash_, .waiting = waiting_};
  for (std::int64_t n = std::max<std::int64_t>(0, begun_ - Standing::kBriefs); n < begun_; ++n) {
    const CollectiveRecord& record = ring_[static_cast<std::size_t>(n % kKept)];
    out.last[static_cast<std::size_t>(n % Standing::kBriefs)] = {record.bytes, record.kind};
  }
  if (const CollectiveRecord& record = ring_[static_cast<std::size_t>(std::max<std::int64_t>(0, waiting_) % kKept)];
      waiting_ >= 0 && record.sequence == waiting_)
    out.waited_ms = milliseconds_between(record.waiting, now);
  return out;
}

std::optional<CollectiveRecord> FlightRecorder::find(std::int64_t sequence) const {
  if (sequence < 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const CollectiveRecord& record = ring_[static_cast<std::size_t>(sequence % kKept)];
  return record.sequence == sequence ? std::optional(record) : std::nullopt;
}

std::vector<std::string> FlightRecorder::history(std::int64_t most) const {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  std::vector<std::string> out;
  for (std::int64_t n = std::max<std::int64_t>(0, begun_ - std::min(most, kKept)); n < begun_; ++n)
    out.push_back(line_of(ring_[static_cast<std::size_t>(n % kKept)], now));
  return out;
}

}  // namespace decant::dist
