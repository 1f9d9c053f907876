#include <mpi.h>
#include <stdlib.h>  // NOLINT: setenv

#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "dist/communicator.h"
#include "dist/errors.h"
#include "dist/mpi_internal.h"

namespace decant::dist {

namespace {

/// Over TCP Open MPI sends at most 64 KiB unasked; a larger message waits until the receiver has answered, and the answer
/// waits behind the data that goes its way. A piece of a sum is sent at once. A limit in the
/// environment or on mpirun's command line stays; one in a file of Open MPI's does not.
void send_pieces_unasked() {
  const std::string limit = std::to_string(kPieceBytes + 1024);  // and MPI's header
  for (const char* name : {"OMPI_MCA_btl_tcp_eager_limit", "OMPI_MCA_btl_tcp_rndv_eager_limit"})
    ::setenv(name, limit.c_str(), 0);
}

}  // namespace

MpiSession::MpiSession() {
  int initialized = 0;
  check_mpi(MPI_Initialized(&initialized), "MPI_Initialized");
  if (initialized != 0) throw CommError("MPI is initialised already: there is one MpiSession a process");
  send_pieces_unasked();
  int provided = MPI_THREAD_SINGLE;
  check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_FUNNELED)
    throw CommError("this MPI library does not allow threads beside the one that calls it (MPI_THREAD_FUNNELED)");
  // Failures are thrown and reported by us; MPI's own handler would end the process in the middle.
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(host, &local_rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(host, &local_size_), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
}

MpiSession::~MpiSession() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  // While an error is on its way out the others may be stuck in a collective, and finalizing would wait for them for
  // ever. A process that ends without it is noticed by the launcher, which ends the job.
  if (finalized == 0 && std::uncaught_exceptions() == 0) MPI_Finalize();
}

std::string MpiSession::library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING + 1> text{};
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  const std::string all(text.data());
  return all.substr(0, all.find_first_of(",\n"));  // what follows is who built it
}

void MpiSession::abort(int code) {
  std::fflush(nullptr);
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

}  // namespace decant::dist
