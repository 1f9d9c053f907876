#include "launch/environment.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <sched.h>
#include <torch/cuda.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "base/errors.h"
#include "dist/mpi_facts.h"

namespace decant::launch {

namespace {

#ifdef DECANT_WITH_CUDA
constexpr bool kBuiltWithCuda = true;
#else
constexpr bool kBuiltWithCuda = false;
#endif

}  // namespace

std::optional<int> device_index(int visible, int local_rank, int local_size) {
  if (visible == 1) return 0;
  if (visible < local_size) return std::nullopt;
  return local_rank;
}

c10::Device choose_device(const std::string& option, int local_rank, int local_size) {
  if (option == "cpu") return c10::Device(c10::kCPU);
  const int visible = kBuiltWithCuda ? static_cast<int>(torch::cuda::device_count()) : 0;
  if (visible == 0) {
    if (option == "auto") return c10::Device(c10::kCPU);
    throw base::ConfigError(
        kBuiltWithCuda ? "'run.device' is cuda, but no CUDA device is visible here (`nvidia-smi` shows the driver's "
                         "state; CUDA_VISIBLE_DEVICES may hide devices)"
                       : "'run.device' is cuda, but this decant was built without CUDA (`decant --version`)");
  }
  const auto index = device_index(visible, local_rank, local_size);
  if (!index)
    throw base::ConfigError(std::to_string(local_size) + " ranks on this host, but only " + std::to_string(visible) +
                            " CUDA devices are visible: start one rank a device, or set 'run.device' to cpu");
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(*index));
}

void settle_libraries() {
  ::unsetenv("HDF5_USE_FILE_LOCKING");
  dist::switch_off_cuda_aware_mpi();
  at::globalContext().setAllowTF32CuDNN(false);  // everything is computed in float32; products are by default
}

std::string host_name() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string allowed_cores() {
  // Larger than cpu_set_t, which ends at 1,024 cores.
  constexpr int kMostCores = 1 << 14;
  std::vector<cpu_set_t> sets(kMostCores / CPU_SETSIZE);
  const std::size_t bytes = sets.size() * sizeof(cpu_set_t);
  if (::sched_getaffinity(0, bytes, sets.data()) != 0) {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    return cores == 1 ? "0" : "0-" + std::to_string(cores - 1);
  }
  std::string out;
  for (int core = 0; core < kMostCores; ++core) {
    if (!CPU_ISSET_S(core, bytes, sets.data())) continue;
    int last = core;
    while (last + 1 < kMostCores && CPU_ISSET_S(last + 1, bytes, sets.data())) ++last;
    if (!out.empty()) out += ',';
    out += std::to_string(core);
    if (last > core) out += "-" + std::to_string(last);
    core = last;
  }
  return out;
}

int count_cores(const std::string& cores) {
  int count = 0;
  std::istringstream in(cores);
  for (std::string range; std::getline(in, range, ',');) {
    const std::size_t dash = range.find('-');
    const int first = std::stoi(range), last = dash == std::string::npos ? first : std::stoi(range.substr(dash + 1));
    count += last - first + 1;
  }
  return count;
}

int choose_threads(std::int64_t option, const std::vector<std::string>& everyone, int rank) {
  if (option > 0) return static_cast<int>(option);
  const std::string& mine = everyone.at(static_cast<std::size_t>(rank));
  const auto sharers = static_cast<int>(std::count(everyone.begin(), everyone.end(), mine));
  return std::max(1, count_cores(mine.substr(mine.find(' ') + 1)) / sharers);
}

void use_threads(int threads) { at::set_num_threads(threads); }

}  // namespace decant::launch
