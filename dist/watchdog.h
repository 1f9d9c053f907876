// A thread a rank that ends the job when ranks do not meet any more, also while this rank is blocked in MPI or NCCL.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/control_plane.h"
#include "dist/flight_recorder.h"

namespace decant::dist {

/// Why all ranks end.
struct TripReport {
  std::string what;                  // one line: who is missing, where it stood, what the others are in
  std::vector<std::string> history;  // this rank's last collectives, oldest first
  int code = 4;                      // exit code of the process
  bool speaks = false;               // this rank tells the user; the others write it into their logs
};

struct WatchdogOptions {
  std::chrono::milliseconds timeout{std::chrono::minutes(10)};  // of a collective, and of a rank's silence
  std::chrono::milliseconds beat{200};                          // at least 2 ms a rank, for rank 0 reads all of them
  std::chrono::milliseconds settle{300};     // from the first bad news to the verdict: who else is gone?
  std::chrono::milliseconds patience{6000};  // for the launcher to end what another rank's failure should end
};

/// Joins the ranks by a control plane and looks after them: a rank whose process is gone, one that is silent for longer
/// than the time-out, a collective that blocks for longer, and ranks whose collectives differ. Then rank 0 (without it,
/// the lowest rank that is left) judges, and every rank's `on_trip` is called once, on the watchdog's thread; it ends
/// the process. Stopped processes of this host are told to go on, so that they hear of the end. No thread of it calls
/// MPI. A rank that is destroyed in peace says so to the others.
class Watchdog {
 public:
  using OnTrip = std::function<void(const TripReport&)>;
  /// Collective over `communicator`, which is not used afterwards. `recorder` must outlive the watchdog.
  Watchdog(Communicator& communicator, const std::string& host, FlightRecorder& recorder, WatchdogOptions options,
           OnTrip on_trip);
  /// Over a plane that is there already; null: it looks after this rank alone.
  Watchdog(std::unique_ptr<ControlPlane> plane, Identity self, FlightRecorder& recorder, WatchdogOptions options,
           OnTrip on_trip);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void set_timeout(std::chrono::milliseconds timeout);
  /// A collective of this rank has failed: asks for the verdict and waits for on_trip, which does not return where it
  /// ends the process. Returns when none has come within `patience`.
  void fail(const std::string& what);
  /// This rank is about to end all ranks with `code`, for a reason of its own that it tells itself.
  void leave(int code);
  /// Why a rank has no control plane, for the log; empty when all have one. The same on every rank.
  [[nodiscard]] const std::string& note() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
  std::string note_;
};

}  // namespace decant::dist
