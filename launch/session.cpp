#include "launch/session.h"

#include <algorithm>
#include <thread>

namespace decant::launch {

namespace {

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
  host_ = make_communicator(c10::Device(c10::kCPU), std::chrono::minutes(10));
}

std::unique_ptr<dist::Communicator> Session::make_communicator(c10::Device device, std::chrono::seconds timeout) const {
  if (size() == 1) return dist::make_single_communicator(device);
  const dist::CommunicatorOptions options{timeout};
  return device.is_cuda() ? dist::make_nccl_communicator(*mpi_, device, options)
                          : dist::make_mpi_communicator(*mpi_, options);
}

int Session::leave(const Failure& failure) const {
  const bool stopped = failure.code == static_cast<int>(base::ExitCode::kStopped);
  if (stopped) {
    if (leads()) print_failure(failure.text);
    return failure.code;
  }
  // What befalls all ranks at once should be told once: the others give rank 0 the time to end them.
  if (!leads()) std::this_thread::sleep_for(std::chrono::milliseconds(1000 + 100 * std::min(rank(), 20)));
  print_failure(failure.text, place_of(rank(), size()));
  if (size() > 1) dist::MpiSession::abort(failure.code);
  return failure.code;
}

}  // namespace decant::launch
