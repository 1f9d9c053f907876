// Importers: raw files to a dataset store. One file and one row in the table of formats each.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/attributes.h"
#include "data/interaction_options.h"
#include "data/pseudonyms.h"

namespace decant::data {

namespace fs = std::filesystem;

struct ImportOptions : base::Options {
  std::string format = "sequences";
  std::vector<std::string> files;
  std::int64_t k_core = 0;               // drop users and items with fewer events, repeatedly; 0: keep all
  std::int64_t min_events = 1;           // drop users with fewer events (after k-core)
  std::string duplicates = "keep";       // keep | collapse: consecutive repeats of an item, once, before k-core
  std::string on_error = "stop";         // stop | skip: a malformed line
  std::string split = "leave-last-out";  // leave-last-out | temporal | given
  std::string valid_from, test_from;     // temporal: times as in the log
  std::vector<std::string> valid_files, test_files;  // given
  std::string memory = "2GiB";                       // for events; what is more is sorted on disk
  InteractionOptions interactions;
  AttributeOptions items{"item"}, users{"user"};
  PseudonymOptions pseudonyms;
  void describe(base::Fields& fields) override;
};

/// Events of a log of interactions that were dropped, and why; what is left lies between the two times.
struct InteractionCounts {
  std::int64_t missing_values = 0, other_kinds = 0, below_rating = 0, without_quantity = 0, outside_time = 0;
  std::int64_t unwanted_values = 0;  // of context: missing or negative ones that are to be dropped
  std::int64_t same_events = 0, sessions = 0;
  std::int64_t against_split = 0;     // split given: events that are earlier than one of an earlier part of their row
  std::string first_time, last_time;  // empty: without times
  [[nodiscard]] base::Json to_json() const;
};

/// Counts of what was read, kept and dropped, and why; also stored in the manifest. Blank lines are not counted.
struct ImportSummary {
  std::int64_t lines = 0, events_read = 0, malformed_lines = 0, repeats_collapsed = 0;
  std::int64_t users_dropped_k_core = 0, items_dropped_k_core = 0, events_dropped_k_core = 0;
  std::int64_t users_dropped_min_events = 0, items_dropped_min_events = 0, events_dropped_min_events = 0;
  std::int64_t users = 0, items = 0, events = 0, valid_targets = 0, test_targets = 0, training_only_users = 0;
  std::int64_t cold_test_targets = 0;                      // items that training has never seen
  std::optional<InteractionCounts> interactions;           // of that format
  std::map<std::string, AttributeCounts> attributes = {};  // by table, "item" and "user"
  [[nodiscard]] base::Json to_json() const;
};

/// Bytes read so far and in all; called a few times a second.
using ImportProgress = std::function<void(std::int64_t done, std::int64_t total)>;

/// Thrown by a progress function to leave an import. Where there are several ranks, all of them then throw it.
struct ImportStopped {};

/// The processes that import together. Each calls import_dataset with the same options, and sees the same files and folder.
struct ImportRanks {
  int rank = 0, ranks = 1;
  /// Collective: everybody's bytes, by rank. Ranks that read longer are waited for without time-out.
  std::function<std::vector<std::string>(const std::string&)> gather;
};

/// Reads `options.files` and writes the dataset to `out`, whole or not at all. `sequences`: a line is a user and one or
/// more items in time order, separated by blanks or tabs; further lines of a user append. `interactions`: a line is one
/// event, in any order of time; events of one time keep the order of the lines. Rows are users in order of first
/// appearance, items likewise; sessions follow each other. Files may be gzip or zstd. Throws DataError with file and line
/// for a malformed line (no item, an invalid UTF-8 or control character, an id over 255 bytes), ConfigError for an unknown
/// format or when nothing is left, or no target under a split that is asked for. Events beyond `options.memory` are sorted
/// and filtered in files in "<out>.tmp"; the dataset's bytes are the same.
/// `at` hears of "import-share" (a rank has read its share, of several), "import-read" (all is read, nothing written), and of
/// what write_dataset tells. Of several ranks each reads a share, and rank 0 writes: the dataset and the messages are those of
/// one. The others get an empty summary. Progress is of all files on every rank.
ImportSummary import_dataset(const ImportOptions& options, const fs::path& out, const ImportProgress& progress = {},
                             const std::function<void(const char*)>& at = {}, const ImportRanks& ranks = {});

/// The key of an import: hashes of the input files' bytes, of the options that affect the result, and the version of
/// the importer.
[[nodiscard]] std::string import_key(const ImportOptions& options);

}  // namespace decant::data
