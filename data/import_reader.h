// Reads the files of an import, each by its format, into a log.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "data/event_log.h"
#include "data/import.h"
#include "data/import_formats.h"
#include "data/line_reader.h"

namespace decant::data {

[[nodiscard]] std::vector<std::string> format_names();
/// Throws ConfigError for an unknown one.
[[nodiscard]] ReadFormat find_format(const ImportOptions& options);

struct ImportFile {
  std::string name;
  std::uint8_t part = 0;  // of the split
};
/// All files in the order in which they are read.
[[nodiscard]] std::vector<ImportFile> files_of(const ImportOptions& options);
/// 0 where it cannot be known: opening the file tells why.
[[nodiscard]] std::int64_t bytes_of(const ImportFile& file);

/// The columns that events of the log have.
[[nodiscard]] std::vector<LogColumn> log_columns(const ImportOptions& options);

class ImportReader {
 public:
  /// `own`: bytes that it is going to read, of `total`, which progress is told of. References must outlive it.
  ImportReader(const ImportOptions& options, const ImportProgress& progress, std::int64_t own, std::int64_t total);
  /// What `lines` has of the file: adds its events to the log, and counts.
  void read(const ImportFile& file, LineReader& lines, EventLog& log, ImportSummary& summary);
  /// The rest of the file, for its hash.
  void read_rest(LineReader& lines);
  /// Tells that all is read.
  void finish() const;

 private:
  void tick(const LineReader& lines);

  const ImportOptions& options_;
  const ImportProgress& progress_;
  std::int64_t own_, total_, done_ = 0;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// Reads every file into the log; returns their hashes.
[[nodiscard]] std::vector<std::string> read_files(const ImportOptions& options, const ImportProgress& progress,
                                                  EventLog& log, ImportSummary& summary);

}  // namespace decant::data
