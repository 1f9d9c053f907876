// The ranks of a job, as an import knows them.
#pragma once

#include "data/import.h"
#include "dist/communicator.h"

namespace decant::trainer {

/// `communicator` must outlive it.
[[nodiscard]] data::ImportRanks import_ranks(dist::Communicator& communicator);

}  // namespace decant::trainer
