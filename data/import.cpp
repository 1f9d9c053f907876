#include "data/import.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/hash.h"
#include "base/options.h"
#include "data/byte_size.h"
#include "data/dataset_writer.h"
#include "data/errors.h"
#include "data/event_filters.h"
#include "data/event_log.h"
#include "data/event_order.h"
#include "data/import_plan.h"
#include "data/import_reader.h"
#include "data/import_text.h"
#include "data/line_reader.h"
#include "data/shared_reading.h"
#include "data/time_text.h"

namespace decant::data {

namespace {

/// Raised when the same files and options would give another dataset.
constexpr int kImporterVersion = 1;
constexpr double kHuge = 1e15;

void check_split(const ImportOptions& options) {
  const auto refuse = [](const std::string& why) { throw base::ConfigError(why); };
  const bool temporal = options.split == kTemporal, given = options.split == kGiven;
  if (!temporal && (!options.valid_from.empty() || !options.test_from.empty()))
    refuse("'valid_from' and 'test_from' are for 'split: temporal', and the split is " + options.split);
  if (!given && (!options.valid_files.empty() || !options.test_files.empty()))
    refuse("'valid_files' and 'test_files' are for 'split: given', and the split is " + options.split);
  if (given && (options.valid_files.empty() || options.test_files.empty()))
    refuse(std::string("'split: given' needs files in '") + (options.valid_files.empty() ? "valid" : "test") +
           "_files'");
  if (!temporal) return;
  for (const auto& [name, text] : {std::pair("valid_from", &options.valid_from), {"test_from", &options.test_from}})
    if (text->empty()) refuse("'split: temporal' needs a time in '" + std::string(name) + "'");
  if (options.format != "interactions" || options.interactions.time.empty())
    refuse("'split: temporal' needs events with times: 'format: interactions' and a column in 'interactions.time'");
  const TimeReader times(options.interactions.time_format);
  for (const auto& [name, text] : {std::pair("valid_from", &options.valid_from), {"test_from", &options.test_from}})
    if (!times.read(*text))
      refuse("'" + std::string(name) + "' is '" + *text + "', which is no time of the format '" +
             options.interactions.time_format + "'");
  if (!(*times.read(options.valid_from) < *times.read(options.test_from)))
    refuse("'valid_from' must be before 'test_from'");
}

std::size_t memory_of(const ImportOptions& options) {
  constexpr std::size_t kLeast = std::size_t{1} << 20;
  const std::size_t bytes = byte_size(options.memory, "memory");
  if (bytes < kLeast) throw base::ConfigError("'memory' is '" + options.memory + "', expected at least 1MiB");
  return bytes;
}

void check_options(const ImportOptions& options) {
  if (options.files.empty()) throw base::ConfigError("there is no file to import");
  const auto one_of = [](const char* key, const std::string& value, const std::vector<std::string>& choices) {
    if (std::find(choices.begin(), choices.end(), value) == choices.end())
      throw base::ConfigError(std::string(key) + " is '" + value + "', expected " + base::join(choices, " or "));
  };
  one_of("duplicates", options.duplicates, {"keep", "collapse"});
  one_of("on_error", options.on_error, {"stop", "skip"});
  one_of("split", options.split, {kLeaveLastOut, kTemporal, kGiven});
  if (options.format == "interactions") options.interactions.check();
  std::set<std::string> names;
  for (const ImportFile& file : files_of(options))
    if (!names.insert(file.name).second)
      throw base::ConfigError("the file " + file.name + " is named twice: its events would be there twice");
  options.items.check();
  options.users.check();
  options.pseudonyms.check();
  check_split(options);
  (void)memory_of(options);
}

/// The options of the format itself.
base::Json own_options(const ImportOptions& options) {
  if (options.format != "interactions") return {};
  return base::write_options(const_cast<InteractionOptions&>(options.interactions));  // which only reads them
}

/// Tables with files of attributes.
std::vector<std::pair<std::string, const AttributeOptions*>> tables_of(const ImportOptions& options) {
  std::vector<std::pair<std::string, const AttributeOptions*>> out;
  if (options.items.on()) out.emplace_back("item", &options.items);
  if (options.users.on()) out.emplace_back("user", &options.users);
  return out;
}

/// Its options; where the files lie does not count.
base::Json attributes_of(const AttributeOptions& options) {
  auto tree = base::write_options(const_cast<AttributeOptions&>(options));  // which only reads them
  tree.erase("files");
  return tree;
}

/// `pseudonyms`: PseudonymImport::facts().
std::string key_from(const ImportOptions& options, const base::Json& pseudonyms,
                     const std::vector<std::string>& file_hashes) {
  base::Hasher hasher;
  hasher.add("import " + std::to_string(kImporterVersion) + " " + options.format + " " + options.duplicates + " " +
             options.on_error + " " + std::to_string(options.k_core) + " " + std::to_string(options.min_events));
  if (const auto own = own_options(options); !own.is_null()) hasher.add(own.dump());
  for (const auto& [table, attributes] : tables_of(options)) hasher.add(table + attributes_of(*attributes).dump());
  if (options.split != kLeaveLastOut)
    hasher.add(options.split + " " + options.valid_from + " " + options.test_from + " " +
               std::to_string(options.valid_files.size()) + " " + std::to_string(options.test_files.size()));
  if (!pseudonyms.is_null()) hasher.add(pseudonyms.dump());
  for (const std::string& hash : file_hashes) hasher.add(hash);
  return hasher.hex();
}

void refuse_empty(const ImportOptions& options, const ImportSummary& summary) {
  if (summary.users == 0) {
    const auto dropped = dropped_text(summary.to_json());
    throw base::ConfigError("nothing is left to import of " + std::to_string(summary.lines) + " lines" +
                            (dropped.empty() ? "" : ": " + base::join(dropped, "; ")));
  }
  if (options.split == kLeaveLastOut) return;
  for (const auto& [name, targets] : {std::pair("valid", summary.valid_targets), {"test", summary.test_targets}}) {
    if (targets > 0) continue;
    std::string span;
    if (summary.interactions && !summary.interactions->first_time.empty())
      span = "; the events lie between " + summary.interactions->first_time + " and " + summary.interactions->last_time;
    throw base::ConfigError("'split: " + options.split + "' leaves no target for " + name +
                            ": no user has an event there with one before it" + span);
  }
}

/// Joins what is known of items and users; adds the files' hashes.
std::vector<TableColumn> join_attributes(const ImportOptions& options, ImportPlan& plan,
                                         const PseudonymImport& pseudonyms, std::vector<std::string>& hashes,
                                         ImportSummary& summary) {
  std::vector<TableColumn> out;
  for (const auto& [table, attributes] : tables_of(options)) {
    const bool of_users = table == "user";
    const ImportPlan::Users users = of_users ? plan.users() : ImportPlan::Users();
    const AttributeRows rows{table, of_users ? users.ids : plan.items(), of_users ? users.training : plan.training(),
                             of_users && options.interactions.session_gap > 0,
                             pseudonyms.of(of_users ? IdKind::kUser : IdKind::kItem)};
    auto columns = read_attributes(*attributes, rows, options.on_error == "skip", summary.attributes[table], hashes);
    std::move(columns.begin(), columns.end(), std::back_inserter(out));
  }
  return out;
}

base::Json describe_import(const ImportOptions& options, const base::Json& pseudonyms,
                           const std::vector<std::string>& hashes, const ImportSummary& summary) {
  base::Json out{{"key", key_from(options, pseudonyms, hashes)},
                 {"format", options.format},
                 {"k_core", options.k_core},
                 {"min_events", options.min_events},
                 {"duplicates", options.duplicates},
                 {"on_error", options.on_error}};
  if (options.split == kTemporal) out["valid_from"] = options.valid_from, out["test_from"] = options.test_from;
  out["summary"] = summary.to_json();
  if (const auto own = own_options(options); !own.is_null()) out["interactions"] = own;
  if (!pseudonyms.is_null()) out["pseudonyms"] = pseudonyms;
  return out;
}

}  // namespace

void ImportOptions::describe(base::Fields& fields) {
  fields.text("format", format, "what the files are", format_names());
  fields.texts("files", files, "the files to import, in order");
  fields.integer("k_core", k_core, {0, kHuge}, "drop users and items with fewer events, repeatedly; 0 keeps all");
  fields.integer("min_events", min_events, {1, kHuge}, "drop users with fewer events, after k_core");
  fields.text("duplicates", duplicates, "consecutive repeats of an item in what was read", {"keep", "collapse"});
  fields.text("on_error", on_error, "what a malformed line does: end the import, or be counted", {"stop", "skip"});
  fields.text(
      "split", split,
      "which events are training's, and which the targets of valid and test: each user's last two, by dates, or by "
      "files",
      {kLeaveLastOut, kTemporal, kGiven});
  fields.text("valid_from", valid_from, "temporal: events from this time on are not training's; as in the log");
  fields.text("test_from", test_from, "temporal: valid's target is before it, test's from it on");
  fields.texts("valid_files", valid_files, "given: files whose events are valid's");
  fields.texts("test_files", test_files, "given: files whose events are test's");
  fields.text(
      "memory", memory,
      "for events (not ids), such as 500MiB; what is more is sorted on disk, beside the dataset. The result is the "
      "same");
  fields.group("interactions", interactions, "how a log of interactions is read");
  fields.group("items", items, "what is known of items, joined by their ids");
  fields.group("users", users, "what is known of users, joined by their ids");
  fields.group("pseudonyms", pseudonyms, "original ids replaced by a keyed hash");
}

base::Json InteractionCounts::to_json() const {
  return {{"missing_values", missing_values},
          {"other_kinds", other_kinds},
          {"below_rating", below_rating},
          {"without_quantity", without_quantity},
          {"outside_time", outside_time},
          {"unwanted_values", unwanted_values},
          {"same_events", same_events},
          {"sessions", sessions},
          {"against_split", against_split},
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
                  {"valid_targets", valid_targets},
                  {"test_targets", test_targets},
                  {"training_only_users", training_only_users},
                  {"cold_test_targets", cold_test_targets}};
  if (interactions) tree["interactions"] = interactions->to_json();
  for (const auto& [table, counts] : attributes) tree[table + "s_read"] = counts.to_json();
  return tree;
}

ImportSummary import_dataset(const ImportOptions& options, const fs::path& out, const ImportProgress& progress,
                             const std::function<void(const char*)>& at, const ImportRanks& ranks) {
  check_options(options);
  if (ranks.rank > 0) {
    read_for_leader(options, {ranks, progress, at});
    return {};
  }
  PseudonymImport pseudonyms(options.pseudonyms, out);
  DatasetFolder folder(out);
  ImportSummary summary;
  const bool interactions = options.format == "interactions";
  if (interactions) summary.interactions.emplace();
  const bool times = interactions && !options.interactions.time.empty();
  EventLog log(times, options.split != kLeaveLastOut, log_columns(options), memory_of(options), folder);
  std::vector<std::string> hashes = ranks.ranks > 1
                                        ? read_as_leader(options, {ranks, progress, at}, folder.path(), log, summary)
                                        : read_files(options, progress, log, summary);
  std::optional<EventOrder> order;
  if (times) order.emplace(options.interactions, *summary.interactions);
  EventBlocks events = log.take([&](UserEvents& block) {
    if (order) (*order)(block);
    if (options.duplicates == "collapse") collapse_repeats(block, summary);
  });
  if (order) order->finish();
  const std::vector<std::uint64_t> counts = filter_events(options, log.items().size(), events, summary);
  log.rename([&](TextColumn& users, TextColumn& items) { pseudonyms.replace(users, items); });
  ImportPlan plan(options.split, events, log, counts, summary);
  refuse_empty(options, summary);
  const std::vector<TableColumn> columns = join_attributes(options, plan, pseudonyms, hashes, summary);
  const base::Json facts = pseudonyms.facts();
  if (at) at("import-read");
  if (!options.pseudonyms.map.empty()) pseudonyms.write_map(plan.users().ids, plan.items());
  plan.write(folder.path(), columns, describe_import(options, facts, hashes, summary), at);
  events.discard();
  if (at) at("import-commit");
  folder.commit();
  return summary;
}

std::string import_key(const ImportOptions& options) {
  check_options(options);
  (void)find_format(options);
  std::vector<std::string> hashes;
  const auto add = [&](const std::string& name) {
    LineReader lines((fs::path(name)));
    lines.skip_to(std::numeric_limits<std::int64_t>::max());
    hashes.push_back(lines.hash());
  };
  for (const ImportFile& file : files_of(options)) add(file.name);
  for (const auto& [table, attributes] : tables_of(options))
    for (const auto& name : attributes->files) add(name);
  return key_from(options, PseudonymImport(options.pseudonyms, {}).facts(), hashes);
}

}  // namespace decant::data
