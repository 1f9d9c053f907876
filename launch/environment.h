// What a rank may use of its host: device and threads.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace decant::launch {

/// Index of the device that a local rank takes of those visible to it; nothing when there are too few. One visible
/// device is taken whatever the local rank: Slurm and job scripts show each task its own.
[[nodiscard]] std::optional<int> device_index(int visible, int local_rank, int local_size);

/// `option`: "auto" (CUDA where it was built in and a device is visible), "cpu" or "cuda". Throws ConfigError when what
/// is asked for is not there.
[[nodiscard]] c10::Device choose_device(const std::string& option, int local_rank, int local_size);

/// What libraries would read from the environment and decant decides itself: HDF5 takes no locks (the variable
/// HDF5_USE_FILE_LOCKING would overrule what a file was opened with), MPI leaves GPUs alone. REQUIRES: the first thing
/// the program does.
void settle_libraries();

/// Name of this host.
[[nodiscard]] std::string host_name();

/// The cores that this process may run on ("0-3,8"), as the launcher's binding left them.
[[nodiscard]] std::string allowed_cores();

/// Number of cores in such a list.
[[nodiscard]] int count_cores(const std::string& cores);

/// Threads of a rank: `option`, or where that is 0 the cores of this rank shared among the ranks that run on the same
/// ones. `everyone`: "<host> <cores>" of all ranks.
[[nodiscard]] int choose_threads(std::int64_t option, const std::vector<std::string>& everyone, int rank);

/// Sets the threads of LibTorch's operators.
void use_threads(int threads);

}  // namespace decant::launch
