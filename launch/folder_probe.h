// Whether a folder is one folder to all ranks, with room, and with locks that hold.
#pragma once

#include <filesystem>
#include <string>

#include "launch/rank_facts.h"

namespace decant::launch {

/// Collective. Rank 0 makes and locks a small file in `folder` (in its nearest parent that exists) and all others look
/// for it; it is removed again. Fills the folder's fields of `facts`. Returns, on every rank, why rank 0 cannot write
/// there, or "".
[[nodiscard]] std::string probe_folder(const std::filesystem::path& folder, dist::Communicator& communicator,
                                       RankFacts& facts);

}  // namespace decant::launch
