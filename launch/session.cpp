#include "launch/session.h"

#include <algorithm>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

#include "dist/recorded_communicator.h"
#include "launch/environment.h"

namespace decant::launch {

namespace {

constexpr std::chrono::minutes kStartTimeout{10};  // before the job file is read

/// All tasks of the launcher find the same, each by itself, so the first one speaks for all.
void check_tasks(const Launcher& launcher, int mpi_size) {
  try {
    check_world(launcher, mpi_size);
  } catch (const base::Error& error) {
    throw CommonError(error.code(), error.what(), launcher.task == 0);
  }
}

}  // namespace

Session::Session(const Launcher& launcher) {
  check_tasks(launcher, 0);
  if (launcher.offers_mpi) {
    mpi_.emplace();
    check_tasks(launcher, mpi_->size());
  }
  host_ = make_communicator(c10::Device(c10::kCPU), kStartTimeout);
  if (size() > 1) begin_watch();
}

void Session::begin_watch() {
  watchdog_ = std::make_unique<dist::Watchdog>(
      *host_, host_name(), *recorder_, dist::WatchdogOptions{.timeout = kStartTimeout},
      [this, rank = rank(), size = size()](const dist::TripReport& report) { end(report, rank, size); });
}

void Session::end(const dist::TripReport& report, int rank, int size) {
  if (report.speaks) print_failure(report.what, place_of(rank, size));
  // A log on a file system that does not answer must not keep the process.
  auto told = std::make_shared<std::promise<void>>();
  auto done = told->get_future();
  std::thread([this, report, told] {
    const std::lock_guard lock(epilogue_mutex_);
    if (epilogue_) epilogue_(report);
    told->set_value();
  }).detach();
  done.wait_for(std::chrono::seconds(1));
  std::_Exit(report.code);
}

void Session::set_epilogue(Epilogue epilogue) {
  const std::lock_guard lock(epilogue_mutex_);
  epilogue_ = std::move(epilogue);
}

void Session::set_timeout(std::chrono::seconds timeout) {
  if (watchdog_) watchdog_->set_timeout(timeout);
}

std::unique_ptr<dist::Communicator> Session::make_communicator(c10::Device device, std::chrono::seconds timeout) const {
  if (size() == 1) return dist::make_single_communicator(device);
  const dist::CommunicatorOptions options{timeout};
  return dist::make_recorded_communicator(device.is_cuda() ? dist::make_nccl_communicator(*mpi_, device, options)
                                                           : dist::make_mpi_communicator(*mpi_, options),
                                          *recorder_);
}

int Session::leave(const Failure& failure) const {
  const bool stopped = failure.code == static_cast<int>(base::ExitCode::kStopped);
  if (stopped) {
    if (leads()) print_failure(failure.text);
    return failure.code;
  }
  if (watchdog_) {
    // Who is missing, and where all stand, is for the watchdog to say, which then ends the process.
    if (failure.code == static_cast<int>(base::ExitCode::kCommunication)) watchdog_->fail(failure.text);
    watchdog_->leave(failure.code);
  }
  // What befalls all ranks at once should be told once: the others give rank 0 the time to end them.
  if (!leads()) std::this_thread::sleep_for(std::chrono::milliseconds(1000 + 100 * std::min(rank(), 20)));
  print_failure(failure.text, place_of(rank(), size()));
  if (size() > 1) dist::MpiSession::abort(failure.code);
  return failure.code;
}

}  // namespace decant::launch
