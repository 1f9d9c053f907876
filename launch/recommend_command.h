// `decant recommend`: histories in, the best next items out, line by line.
#pragma once

#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

/// line.files: a job file, then files of histories; none: standard input. A history is a name and items in the order of
/// time, separated by blanks or tabs, or a JSON object {"id": ..., "items": [...]}; original ids; an item of the list may
/// be an event with fields (data::HistoryFields). Prints lines of name, item and score with tabs between, or with --json
/// an object a history. Items that the catalogue has not are passed over and counted. Throws DataError with file and line
/// for a malformed history.
void recommend_command(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
