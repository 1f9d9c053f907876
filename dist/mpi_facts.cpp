#include "dist/mpi_facts.h"

#include <mpi.h>

#include <cstdlib>

#if defined(OPEN_MPI) && __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif

#include "dist/communicator.h"

namespace decant::dist {

namespace {

const char* name_of_level(int level) {
  switch (level) {
    case MPI_THREAD_SINGLE:
      return "MPI_THREAD_SINGLE";
    case MPI_THREAD_FUNNELED:
      return "MPI_THREAD_FUNNELED";
    case MPI_THREAD_SERIALIZED:
      return "MPI_THREAD_SERIALIZED";
    default:
      return "MPI_THREAD_MULTIPLE";
  }
}

std::string cuda_awareness() {
#ifdef MPIX_CUDA_AWARE_SUPPORT
  return MPIX_Query_cuda_support() == 0 ? "not built in" : "switched off";
#else
  return "unknown";
#endif
}

}  // namespace

MpiFacts mpi_facts() {
  MpiFacts out{MpiSession::library_version(), "", cuda_awareness()};
  int initialized = 0, finalized = 0, level = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0 && MPI_Query_thread(&level) == MPI_SUCCESS)
    out.thread_level = name_of_level(level);
  return out;
}

// There is no call for it: Open MPI reads its parameters from the environment, in MPI_Init.
void switch_off_cuda_aware_mpi() { ::setenv("OMPI_MCA_opal_cuda_support", "0", 1); }

}  // namespace decant::dist
