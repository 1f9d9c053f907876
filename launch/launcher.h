// Who started this process, and how many of it: what the environment says before MPI is asked.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace decant::launch {

/// Value of an environment variable, or nothing.
using Variables = std::function<std::optional<std::string>(const std::string& name)>;
[[nodiscard]] Variables process_environment();

struct Launcher {
  std::string name{};       // "mpirun", "srun", or "" for a process that was started alone
  int tasks = 1;            // as many were started
  int task = 0;             // this one
  bool offers_mpi = false;  // MPI_Init will find the others
};

/// Only a process that a launcher started initialises MPI: alone, MPI_Init takes a third of a second, starts a daemon's
/// session folder, and fails in sandboxes without a network; it has nothing to say there.
///
/// srun: SLURM_STEP_ID and SLURM_PROCID; a plain sbatch or salloc shell has no step of its own, though it inherits
/// SLURM_NTASKS of the allocation.
[[nodiscard]] Launcher detect_launcher(const Variables& variables);

/// Throws ConfigError when `launcher` started several tasks that would each believe to be rank 0 of 1. Before MPI_Init:
/// `mpi_size` 0. The message says how to start them so that they find each other.
void check_world(const Launcher& launcher, int mpi_size);

}  // namespace decant::launch
