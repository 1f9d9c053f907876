#include "data/import.h"

#include <chrono>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "base/hash.h"
#include "base/options.h"
#include "data/dataset_writer.h"
#include "data/errors.h"
#include "data/event_filters.h"
#include "data/event_log.h"
#include "data/event_order.h"
#include "data/import_formats.h"
#include "data/line_reader.h"

namespace decant::data {

namespace {

/// Raised when the same files and options would give another dataset.
constexpr int kImporterVersion = 1;
constexpr double kHuge = 1e15;

const std::map<std::string, ReadFormat>& formats() {
  static const std::map<std::string, ReadFormat> table{{"interactions", read_interactions},
                                                       {"sequences", read_sequences}};
  return table;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const auto& [name, read] : formats()) names.push_back(name);
  return names;
}

ReadFormat find_format(const ImportOptions& options) {
  const auto at = formats().find(options.format);
  if (at != formats().end()) return at->second;
  throw base::ConfigError("unknown import format '" + options.format + "' (known: " + base::join(format_names()) + ")");
}

void check_options(const ImportOptions& options) {
  if (options.files.empty()) throw base::ConfigError("there is no file to import");
  const auto one_of = [](const char* key, const std::string& value, const char* first, const char* second) {
    if (value != first && value != second)
      throw base::ConfigError(std::string(key) + " is '" + value + "', expected " + first + " or " + second);
  };
  one_of("duplicates", options.duplicates, "keep", "collapse");
  one_of("on_error", options.on_error, "stop", "skip");
  if (options.format == "interactions") options.interactions.check();
  options.pseudonyms.check();
}

std::int64_t total_bytes(const std::vector<std::string>& files) {
  std::int64_t total = 0;
  for (const std::string& file : files) {
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(file, error);
    if (!error) total += static_cast<std::int64_t>(bytes);  // otherwise opening it tells
  }
  return total;
}

/// Calls the user's progress function at most five times a second.
class ProgressClock {
 public:
  ProgressClock(const ImportProgress& progress, std::int64_t total) : progress_(progress), total_(total) {}
  void tick(std::int64_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (!progress_ || now - last_ < std::chrono::milliseconds(200)) return;
    last_ = now;
    progress_(done, total_);
  }
  void finish() const {
    if (progress_) progress_(total_, total_);
  }

 private:
  const ImportProgress& progress_;
  std::int64_t total_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// The options of the format itself.
base::Json own_options(const ImportOptions& options) {
  auto copy = options.interactions;
  return options.format == "interactions" ? base::write_options(copy) : base::Json();
}

/// `pseudonyms`: PseudonymImport::facts().
std::string key_from(const ImportOptions& options, const base::Json& pseudonyms,
                     const std::vector<std::string>& file_hashes) {
  base::Hasher hasher;
  hasher.add("import " + std::to_string(kImporterVersion) + " " + options.format + " " + options.duplicates + " " +
             options.on_error + " " + std::to_string(options.k_core) + " " + std::to_string(options.min_events));
  if (const auto own = own_options(options); !own.is_null()) hasher.add(own.dump());
  if (!pseudonyms.is_null()) hasher.add(pseudonyms.dump());
  for (const std::string& hash : file_hashes) hasher.add(hash);
  return hasher.hex();
}

/// Reads every file into the log; returns their hashes.
std::vector<std::string> read_files(const ImportOptions& options, EventLog& log, ImportSummary& summary,
                                    const ImportProgress& progress) {
  const ReadFormat read = find_format(options);
  ProgressClock clock(progress, total_bytes(options.files));
  std::vector<std::string> hashes;
  std::int64_t done = 0;
  for (const std::string& name : options.files) {
    const fs::path path = name;
    LineReader lines(path);
    const ImportSource source{lines, path, options, options.on_error == "skip",
                              [&] { clock.tick(done + lines.bytes_read()); }};
    read(source, log, summary);
    done += lines.bytes_read();
    hashes.push_back(lines.hash());
  }
  clock.finish();
  return hashes;
}

void count_rows(const DatasetContent& content, ImportSummary& summary) {
  summary.users = content.rows();
  summary.items = content.items.size();
  summary.events = static_cast<std::int64_t>(content.events.size());
  for (std::size_t row = 0; row + 1 < content.offsets.size(); ++row)
    summary.training_only_users += content.offsets[row + 1] - content.offsets[row] < 3;
  const std::vector<std::uint32_t> counts = count_training(content);
  for (std::size_t row = 0; row + 1 < content.offsets.size(); ++row)
    if (content.offsets[row + 1] - content.offsets[row] >= 3)
      summary.cold_test_targets += counts[content.events[content.offsets[row + 1] - 1]] == 0;
}

}  // namespace

void ImportOptions::describe(base::Fields& fields) {
  fields.text("format", format, "what the files are", format_names());
  fields.texts("files", files, "the files to import, in order");
  fields.integer("k_core", k_core, {0, kHuge}, "drop users and items with fewer events, repeatedly; 0 keeps all");
  fields.integer("min_events", min_events, {1, kHuge}, "drop users with fewer events, after k_core");
  fields.text("duplicates", duplicates, "consecutive repeats of an item in what was read", {"keep", "collapse"});
  fields.text("on_error", on_error, "what a malformed line does: end the import, or be counted", {"stop", "skip"});
  fields.group("interactions", interactions, "how a log of interactions is read");
  fields.group("pseudonyms", pseudonyms, "original ids replaced by a keyed hash");
}

base::Json InteractionCounts::to_json() const {
  return {{"missing_values", missing_values},
          {"other_kinds", other_kinds},
          {"below_rating", below_rating},
          {"without_quantity", without_quantity},
          {"outside_time", outside_time},
          {"same_events", same_events},
          {"sessions", sessions},
          {"first_time", first_time},
          {"last_time", last_time}};
}

base::Json ImportSummary::to_json() const {
  base::Json tree{{"lines", lines},
                  {"malformed_lines", malformed_lines},
                  {"events_read", events_read},
                  {"repeats_collapsed", repeats_collapsed},
                  {"users_dropped_k_core", users_dropped_k_core},
                  {"items_dropped_k_core", items_dropped_k_core},
                  {"events_dropped_k_core", events_dropped_k_core},
                  {"users_dropped_min_events", users_dropped_min_events},
                  {"items_dropped_min_events", items_dropped_min_events},
                  {"events_dropped_min_events", events_dropped_min_events},
                  {"users", users},
                  {"items", items},
                  {"events", events},
                  {"training_only_users", training_only_users},
                  {"cold_test_targets", cold_test_targets}};
  if (interactions) tree["interactions"] = interactions->to_json();
  return tree;
}

ImportSummary import_dataset(const ImportOptions& options, const fs::path& out, const ImportProgress& progress,
                             const std::function<void(const char*)>& at) {
  check_options(options);
  PseudonymImport pseudonyms(options.pseudonyms, out);
  EventLog log;
  ImportSummary summary;
  if (options.format == "interactions") summary.interactions.emplace();
  const std::vector<std::string> hashes = read_files(options, log, summary, progress);
  UserEvents events = log.take();
  TextColumn users = log.users(), items = log.items();
  pseudonyms.replace(users, items);
  if (!events.times.empty()) order_events(options.interactions, events, users, *summary.interactions);
  filter_events(options, items.size(), events, summary);
  DatasetContent content = compact(events, users, items);
  if (content.rows() == 0)
    throw base::ConfigError("nothing is left to import: " + std::to_string(summary.lines) + " lines, " +
                            std::to_string(summary.malformed_lines) + " of them malformed, " +
                            std::to_string(summary.events_dropped_k_core) + " events dropped by k_core, " +
                            std::to_string(summary.events_dropped_min_events) + " by min_events");
  count_rows(content, summary);
  content.import = {{"key", key_from(options, pseudonyms.facts(), hashes)},
                    {"format", options.format},
                    {"k_core", options.k_core},
                    {"min_events", options.min_events},
                    {"duplicates", options.duplicates},
                    {"on_error", options.on_error},
                    {"summary", summary.to_json()}};
  if (const auto own = own_options(options); !own.is_null()) content.import["interactions"] = own;
  if (const auto facts = pseudonyms.facts(); !facts.is_null()) content.import["pseudonyms"] = facts;
  if (at) at("import-read");
  pseudonyms.write_map(content.users, content.items);
  write_dataset(content, out, kPartRows, at);
  return summary;
}

std::string import_key(const ImportOptions& options) {
  check_options(options);
  (void)find_format(options);
  std::vector<std::string> hashes;
  for (const std::string& name : options.files) {
    LineReader lines((fs::path(name)));
    lines.skip_to(std::numeric_limits<std::int64_t>::max());
    hashes.push_back(lines.hash());
  }
  return key_from(options, PseudonymImport(options.pseudonyms, {}).facts(), hashes);
}

}  // namespace decant::data
