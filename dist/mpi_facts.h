// What the MPI library of this process is and what it allows, for those who look for the cause of trouble.
#pragma once

#include <string>

namespace decant::dist {

struct MpiFacts {
  std::string library;       // "Open MPI v4.1.4"
  std::string thread_level;  // "MPI_THREAD_FUNNELED", or "" while MPI is not initialised
  /// Of Open MPI: "not built in", or "switched off" by decant; "unknown" of other libraries.
  std::string cuda_aware;
};

/// Callable at any time; asks the library, never the environment.
[[nodiscard]] MpiFacts mpi_facts();

/// REQUIRES: before MPI_Init. decant gives MPI host memory only, and MPI's own use of CUDA can deadlock beside NCCL's, so
/// Open MPI 4 is told to leave GPUs alone.
void switch_off_cuda_aware_mpi();

}  // namespace decant::dist
