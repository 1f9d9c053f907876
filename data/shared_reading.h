// The files of an import, read by several ranks: each reads a share, and rank 0 comes to have the log that one process would
// have.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data/event_log.h"
#include "data/import.h"

namespace decant::data {

/// What import_dataset was given besides the options. References must outlive the reading.
struct SharedImport {
  const ImportRanks& ranks;
  const ImportProgress& progress;
  const std::function<void(const char*)>& at;
};

/// Rank 0, while all others are in read_for_leader(): fills log and summary, and returns the hashes of the files. `folder`: for
/// the other ranks' events. Throws what a single process would throw, on all ranks; ImportStopped where any rank was stopped;
/// FileError where ranks do not see the same files or folder.
[[nodiscard]] std::vector<std::string> read_as_leader(const ImportOptions& options, const SharedImport& shared,
                                                      const fs::path& folder, EventLog& log, ImportSummary& summary);

/// Any other rank.
void read_for_leader(const ImportOptions& options, const SharedImport& shared);

}  // namespace decant::data
