// The formats an importer reads. One file each; the table is in import.cpp.
#pragma once

#include <cstdint>
#include <functional>

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

/// A line is an event: InteractionOptions.
void read_interactions(const ImportSource& source, EventLog& log, ImportSummary& summary);

}  // namespace decant::data
