// From what is known of every rank to the sentence that tells what happened. Internal to dist.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "dist/control_plane.h"

namespace decant::dist {

/// What one rank knows of another, or of itself.
struct PeerState {
  Identity who;
  bool known = false;   // has said who it is
  bool gone = false;    // its connection ended before its work was done
  bool silent = false;  // its heartbeats have stopped for longer than the time-out
  bool left = false;    // its work is done
  RecorderClock::time_point heard{};
  Standing standing;
  std::string trouble;  // what it said of a collective that failed
};

/// "in all_reduce #412 of 4096 bytes (student step 22) for 0.5 s", "at student step 22, after barrier #411".
[[nodiscard]] std::string describe(const Standing& standing);

/// What sets two ranks apart: the first collective of which both know and that differs, or nothing. `own` is the record
/// of rank `rank`.
[[nodiscard]] std::optional<std::string> find_mismatch(const FlightRecorder& own, int rank, int other,
                                                       const Standing& theirs);

/// Who is missing and where it stood, and what the others are in; one line. `ranks`: by rank, those that are not known
/// are passed over. `first`: what is to be told before all (a mismatch); may be empty.
[[nodiscard]] std::string judge(const std::vector<PeerState>& ranks, const std::string& first,
                                RecorderClock::time_point now);

}  // namespace decant::dist
