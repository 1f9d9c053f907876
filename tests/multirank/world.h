// What a test under mpirun may use. All ranks run the same tests in the same order.
#pragma once

#include "dist/communicator.h"

namespace decant::multirank {

/// MPI of this process, made by main.
[[nodiscard]] const dist::MpiSession& session();

/// A communicator over all ranks; a test that breaks one makes one of its own.
[[nodiscard]] dist::Communicator& world();

}  // namespace decant::multirank
