#include <algorithm>
#include <vector>

#include "data/dataset_reader.h"
#include "data/errors.h"
#include "data/pseudonyms.h"

namespace decant::data {

namespace {

/// One block at a time: inspection reads each once.
constexpr std::size_t kCacheBytes = 1;

base::Json describe_lengths(std::vector<std::uint32_t> lengths) {
  std::sort(lengths.begin(), lengths.end());
  std::int64_t sum = 0;
  for (const std::uint32_t length : lengths) sum += length;
  const auto at = [&](double share) {
    return lengths[static_cast<std::size_t>(share * static_cast<double>(lengths.size() - 1))];
  };
  return {{"min", lengths.front()}, {"mean", static_cast<double>(sum) / static_cast<double>(lengths.size())},
          {"median", at(0.5)},      {"p90", at(0.9)},
          {"p99", at(0.99)},        {"max", lengths.back()}};
}

void add_values(const RowValues& values, base::Hasher& hasher) {
  hasher.add(std::as_bytes(values.codes));
  hasher.add(std::as_bytes(values.numbers));
  hasher.add(std::as_bytes(values.times));
}

/// The columns as the manifest has them, those of events with the hashes of what is stored.
std::vector<ColumnInfo> hash_columns(DatasetReader& reader) {
  std::vector<ColumnInfo> columns = reader.columns();
  for (std::size_t c = 0; c < columns.size(); ++c) {
    if (columns[c].table != "event" || columns[c].name == kGapName) continue;
    base::Hasher hasher;
    for (std::int64_t row = 0; row < reader.info().rows; ++row) add_values(reader.values(row, c), hasher);
    columns[c].hash = hasher.hex();
    if (columns[c].hash != reader.columns()[c].hash)
      throw DataError(reader.info().folder.string(), "/events/" + columns[c].name, -1,
                      "the values are not those that the manifest's hash was made of");
    if (columns[c].kind == "category") (void)reader.vocabulary(c);
  }
  return columns;
}

/// Reads all events again and compares what the store says of them.
void verify_events(DatasetReader& reader, const std::string& catalogue) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(reader.info().items));
  ContentHasher hasher;
  hasher.add(reader.lengths(), {});
  for (std::int64_t row = 0; row < reader.info().rows; ++row) {
    const RowEvents events = reader.events(row);
    const RowSplit split = reader.split(row);
    hasher.add({}, events.items);
    hasher.add(split);
    for (const std::uint32_t item : events.items.first(split.training)) ++counts[item];
  }
  const std::string folder = reader.info().folder.string();
  if (hasher.hex(catalogue, reader.info().split, hash_columns(reader)) != reader.info().content_hash)
    throw DataError(folder, "/sequences/items", -1, "the events are not those that the manifest's hash was made of");
  if (counts != reader.counts())
    throw DataError(folder, "/items/count", -1, "are not the counts of the training split");
}

}  // namespace

base::Json inspect_dataset(const fs::path& folder) {
  DatasetReader reader(folder, kCacheBytes);
  const DatasetInfo& info = reader.info();
  const std::string catalogue = catalogue_hash(reader.names());
  if (catalogue != info.catalogue_hash)
    throw DataError(folder.string(), "/items/id", -1, "the items are not those that the manifest's hash was made of");
  verify_events(reader, catalogue);
  std::int64_t bytes = 0, training_only = 0, without_target = 0, valid = 0, test = 0;
  for (std::size_t part = 0; part < reader.parts().size(); ++part) {
    (void)reader.users(part);
    bytes += reader.parts()[part].bytes;
  }
  for (std::int64_t row = 0; row < info.rows; ++row) {
    const RowSplit split = reader.split(row);
    training_only += split.valid == kNoTarget && split.test == kNoTarget;
    without_target += split.training < 2;
    valid += split.valid != kNoTarget;
    test += split.test != kNoTarget;
  }
  const auto unseen = std::count(reader.counts().begin(), reader.counts().end(), 0);
  base::Json columns = base::Json::object();
  for (const auto& column : reader.columns()) {
    if (column.table != "event") (void)reader.column(column.full_name());  // verifies it
    auto entry = column.to_json();
    entry.erase("table"), entry.erase("name"), entry.erase("hash");
    columns[column.full_name()] = std::move(entry);
  }
  const auto ids = [&](bool replaced) { return replaced ? "pseudonyms" : "as they came"; };
  const PseudonymFacts facts = pseudonym_facts(folder);
  return {{"format", kDatasetFormat},
          {"version", reader.version()},
          {"rows", info.rows},
          {"items", info.items},
          {"events", info.events},
          {"split", info.split},
          {"valid_targets", valid},
          {"test_targets", test},
          {"training_only_rows", training_only},
          {"rows_without_training_target", without_target},
          {"items_unseen_in_training", unseen},
          {"lengths", describe_lengths(reader.lengths())},
          {"columns", std::move(columns)},
          {"catalogue_hash", info.catalogue_hash},
          {"content_hash", info.content_hash},
          {"import_key", info.import_key},
          {"user_ids", ids(facts.users)},
          {"item_ids", ids(facts.items)},
          {"parts", reader.parts().size()},
          {"bytes", bytes},
          {"verified", true}};
}

}  // namespace decant::data
