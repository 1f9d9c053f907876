// How a thread waits for something it has to poll. Internal to dist.
#pragma once

#include <chrono>

namespace decant::dist {

/// Pauses longer the longer nothing happens: spins at first (a peer answers within microseconds), then gives up the
/// core at every turn, then sleeps, so that ranks that share cores do not starve the one they wait for.
class Backoff {
 public:
  Backoff() : idle_since_(Clock::now()) {}
  /// Something happened: the next pause is short again.
  void reset() { idle_since_ = Clock::now(); }
  void pause() const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point idle_since_;
};

}  // namespace decant::dist
