// The formats an importer reads. One file each; the table is in import.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "data/event_log.h"
#include "data/import.h"
#include "data/line_reader.h"

namespace decant::data {

/// What a format is given for one file: it reads lines, adds events, and counts.
struct ImportSource {
  LineReader& lines;
  const fs::path& path;
  const ImportOptions& options;
  bool skip_malformed = false;
  std::function<void()> tick;  // to be called now and then, for progress
};

using ReadFormat = void (*)(const ImportSource& source, EventLog& log, ImportSummary& summary);

/// A line is a user and one or more items in time order, separated by blanks or tabs. Blank lines are passed over.
void read_sequences(const ImportSource& source, EventLog& log, ImportSummary& summary);

/// The columns that events of such a log keep beside the item, in the order of their values: the kind where several kinds
/// can be left, and the weight.
[[nodiscard]] std::vector<LogColumn> event_columns(const InteractionOptions& options);

/// A line is an event: InteractionOptions.
void read_interactions(const ImportSource& source, EventLog& log, ImportSummary& summary);

}  // namespace decant::data
