// A record of the last collectives of this rank: what the watchdog looks at, and what a report tells when ranks do not
// meet.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace decant::dist {

enum class CollectiveKind : std::uint8_t {
  kNone,
  kAllReduce,
  kBroadcast,
  kAllGather,
  kAllToAll,
  kBarrier,
  kRendezvous,
  kAllReduceHost,
  kGatherBytes,
  kBroadcastBytes
};
/// "all_reduce".
[[nodiscard]] std::string_view name_of(CollectiveKind kind);
/// Whether all ranks give as many bytes to a collective of this kind.
[[nodiscard]] bool same_bytes_everywhere(CollectiveKind kind);

/// A stage or phase and its step; plain bytes, since ranks send it to each other.
struct Place {
  std::array<char, 40> name{};
  std::int64_t step = -1;  // -1: none
  void set(std::string_view text, std::int64_t at_step);
  /// "student step 22"; "" where nobody has said.
  [[nodiscard]] std::string text() const;
};

using RecorderClock = std::chrono::steady_clock;

struct CollectiveRecord {
  std::int64_t sequence = -1;
  CollectiveKind kind = CollectiveKind::kNone;
  std::int64_t bytes = 0;
  Place place;  // where it was issued
  RecorderClock::time_point started{};
  RecorderClock::time_point waiting{}, finished{};  // the clock's beginning: not yet
  std::uint64_t hash = 0;                           // of kinds and bytes of this one and all before it
};

/// What ranks tell each other of a collective.
struct CollectiveBrief {
  std::int64_t bytes = 0;
  CollectiveKind kind = CollectiveKind::kNone;
};

/// Where a rank stands; plain bytes, sent with every heartbeat. Collectives are numbered from 0 in the order of issue,
/// over all communicators of the process.
struct Standing {
  static constexpr std::int64_t kBriefs = 16;
  Place place;
  std::int64_t begun = 0;     // collectives issued so far: the number of the next
  std::uint64_t hash = 0;     // after the last one
  std::int64_t waiting = -1;  // number of the one that is waited for; -1: none
  std::int64_t waited_ms = 0;
  std::array<CollectiveBrief, kBriefs> last{};  // of number n at n % kBriefs
  /// Of number `sequence`; nothing when it is not among the last.
  [[nodiscard]] std::optional<CollectiveBrief> brief(std::int64_t sequence) const;
};

/// Keeps the last collectives in a ring: no allocation, a mutex that is free nearly always. Thread-safe; one thread
/// waits at a time.
class FlightRecorder {
 public:
  static constexpr std::int64_t kKept = 256;
  void stand_at(std::string_view place, std::int64_t step);
  /// Returns the number of the collective that begins.
  std::int64_t start(CollectiveKind kind, std::int64_t bytes);
  void wait_begins(std::int64_t sequence);
  void finish(std::int64_t sequence);

  [[nodiscard]] Standing standing() const;
  /// Nothing when it is too old or not issued yet.
  [[nodiscard]] std::optional<CollectiveRecord> find(std::int64_t sequence) const;
  /// A line for each of the last `most` collectives, oldest first.
  [[nodiscard]] std::vector<std::string> history(std::int64_t most) const;

 private:
  [[nodiscard]] CollectiveRecord* at(std::int64_t sequence);

  mutable std::mutex mutex_;
  std::array<CollectiveRecord, kKept> ring_{};
  Place place_;
  std::int64_t begun_ = 0, waiting_ = -1;
  std::uint64_t hash_ = 0;
};

}  // namespace decant::dist
