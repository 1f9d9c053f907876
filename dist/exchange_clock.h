// How long a step's exchange took and how long it was waited for, for the gradient reducer's own sources.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <chrono>
#include <cstddef>
#include <optional>

namespace decant::dist {

/// How long the current stream stood still between begin() and end(), read when both marks have passed: measuring must
/// not make the host wait for the device.
class StreamSpan {
 public:
  explicit StreamSpan(c10::Device device);
  void begin();
  void end();
  [[nodiscard]] bool passed() const { return end_.query(); }
  [[nodiscard]] double seconds() const { return begin_.elapsedTime(end_) / 1000; }

 private:
  c10::Device device_;
  c10::Event begin_, end_;
};

/// CPU: wall time in which anything was on its way. Device: spans on the streams, of one step at a time.
///
///   begin_step(); { departed() | arrived() }...; wait_begins(); { departed() | arrived() }...; wait_ends();
class ExchangeClock {
 public:
  explicit ExchangeClock(c10::Device device) : device_(device) {}
  void begin_step();
  void departed();
  void arrived();
  /// `waited_seconds`: the communicator's count.
  void wait_begins(double waited_seconds);
  void wait_ends(double waited_seconds);
  /// Of the last step that is known.
  [[nodiscard]] double exposed_seconds() const { return exposed_seconds_; }
  [[nodiscard]] double exchange_seconds() const { return exchange_seconds_; }

 private:
  using Clock = std::chrono::steady_clock;
  c10::Device device_;
  std::size_t departures_ = 0, on_the_way_ = 0;  // in this step
  Clock::time_point busy_since_;
  double busy_seconds_ = 0, waited_before_ = 0;
  std::optional<StreamSpan> wait_span_, exchange_span_;  // empty: read, or never begun
  bool measuring_ = false;                               // this step, on a device
  double exposed_seconds_ = 0, exchange_seconds_ = 0;
};

}  // namespace decant::dist
