// The ranks of this job: alone, or over MPI when a launcher started several.
#pragma once

#include <c10/core/Device.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "dist/communicator.h"
#include "dist/flight_recorder.h"
#include "dist/watchdog.h"
#include "launch/failure.h"
#include "launch/launcher.h"

namespace decant::launch {

class Session {
 public:
  /// Throws CommonError when the launcher's tasks do not find each other.
  explicit Session(const Launcher& launcher);

  [[nodiscard]] int rank() const { return mpi_ ? mpi_->rank() : 0; }
  [[nodiscard]] int size() const { return mpi_ ? mpi_->size() : 1; }
  [[nodiscard]] int local_rank() const { return mpi_ ? mpi_->local_rank() : 0; }
  [[nodiscard]] int local_size() const { return mpi_ ? mpi_->local_size() : 1; }
  [[nodiscard]] bool leads() const { return rank() == 0; }

  /// CPU, for agreements before the device is known and between stages.
  [[nodiscard]] dist::Communicator& host() { return *host_; }
  /// Collective: for the tensors of a job on `device`.
  [[nodiscard]] std::unique_ptr<dist::Communicator> make_communicator(c10::Device device,
                                                                      std::chrono::seconds timeout) const;

  /// Tells what went wrong on this rank and ends the job with its code: alone by returning it, otherwise by ending all
  /// ranks. A stop by a signal, which all ranks know of, is returned too.
  int leave(const Failure& failure) const;

  /// What the watchdog does before it ends the process, on its own thread: writes into the rank's log. Empty: nothing.
  using Epilogue = std::function<void(const dist::TripReport& report)>;
  void set_epilogue(Epilogue epilogue);
  /// Of the watchdog, which until then has that of the start.
  void set_timeout(std::chrono::seconds timeout);
  /// Why missing ranks would not be named, for the log; "" when they would.
  [[nodiscard]] std::string note() const { return watchdog_ ? watchdog_->note() : ""; }

 private:
  void begin_watch();
  [[noreturn]] void end(const dist::TripReport& report, int rank, int size);

  std::mutex epilogue_mutex_;
  Epilogue epilogue_;
  std::unique_ptr<dist::FlightRecorder> recorder_ = std::make_unique<dist::FlightRecorder>();
  std::unique_ptr<dist::Watchdog> watchdog_;  // outlives MPI: finalizing may block too
  std::optional<dist::MpiSession> mpi_;
  std::unique_ptr<dist::Communicator> host_;
};

}  // namespace decant::launch
