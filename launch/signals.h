// SIGINT, SIGTERM and SIGUSR1 ask the job to stop at the next step, with everything saved.
#pragma once

#include <atomic>

namespace decant::launch {

/// For the beginning of a process: SIGUSR1, by which a job's launcher asks to stop, waits for Signals instead of ending the
/// process.
void hold_stop_signal();

/// Handles the three while it lives; one object at a time. A second SIGINT (Ctrl-C again) leaves at once, with 130.
class Signals {
 public:
  /// `speaks`: this rank tells the user that Ctrl-C was understood.
  explicit Signals(bool speaks);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  [[nodiscard]] const std::atomic<bool>& stop_requested() const;
};

}  // namespace decant::launch
