// The dataset store: a folder with manifest.json and HDF5 parts of fixed row ranges (docs/file_formats.md).
// Sources of the splits: leave-last-out as in Kang, McAuley 2018 (SASRec).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "data/batch_columns.h"
#include "data/packed_batch.h"

namespace decant::data {

namespace fs = std::filesystem;

/// Where a row's training ends and which events are the targets of valid and test is the split's to say: leave-last-out,
/// temporal or given (docs/file_formats.md). A row may have a target without any training event.
enum class Split { kTrain, kValid, kTest };
[[nodiscard]] const char* name_of(Split split);

struct DatasetInfo {
  fs::path folder;
  std::int64_t rows = 0;       // sequences (users)
  std::int64_t items = 0;      // catalogue: every item left after k-core, ids in order of first appearance
  std::int64_t events = 0;     // of all splits
  std::string catalogue_hash;  // over the ordered original ids
  std::string content_hash;    // over catalogue, sequences, split and the weights of events
  std::string split = "leave-last-out";
  std::string import_key;  // of the import that made it; empty when another program wrote it
};

/// Read access. Opening reads the manifest and the lengths (4 bytes a row in memory); events are read in blocks on
/// demand and kept in a cache of at most `cache_bytes`. Every byte read is verified (fletcher32): damage is a DataError
/// naming file, dataset and row. Thread-safe.
class Dataset {
 public:
  explicit Dataset(const fs::path& folder, std::size_t cache_bytes = std::size_t{1} << 30);
  ~Dataset();

  [[nodiscard]] const DatasetInfo& info() const;
  /// Events of a row, all splits.
  [[nodiscard]] std::int64_t length(std::int64_t row) const;
  /// How many of them, from the first on, are training's.
  [[nodiscard]] std::int64_t training_length(std::int64_t row) const;
  /// Events before the target of `split` (valid or test); -1: the row has no such target.
  [[nodiscard]] std::int64_t history_length(Split split, std::int64_t row) const;
  /// Columns of items, users and events beside their ids.
  [[nodiscard]] const std::vector<ColumnInfo>& columns() const;
  /// Targets of a row in training under a window of `max_length` inputs: min(training events - 1, max_length), >= 0.
  [[nodiscard]] std::int64_t training_targets(std::int64_t row, std::int64_t max_length) const;
  /// Rows of one read block; an order that stays inside groups of blocks reads each block once.
  [[nodiscard]] std::int64_t block_rows() const;
  /// Rows that fit the cache, at least one block: the size of a shuffling group.
  [[nodiscard]] std::int64_t cached_rows() const;

  /// The `last` windows of `rows` for training: up to `max_length` inputs, a target for each, weighted as the column
  /// "event.weight" says where there is one. Rows without a target are left out.
  [[nodiscard]] PackedBatch training_batch(const std::vector<std::int64_t>& rows, std::int64_t max_length) const;
  /// Histories of the rows in [first, first + count), cut at the last row, that have a target in `split` (valid or
  /// test), one target each, with the seen items (of the whole history, not only the window; never the target itself).
  [[nodiscard]] PackedBatch evaluation_batch(Split split, std::int64_t first, std::int64_t count,
                                             std::int64_t max_length) const;

  /// How often each item occurs in the training split [items].
  [[nodiscard]] const std::vector<std::int64_t>& training_counts() const;
  /// Calls visit(row, original id of its user) for every row in order; reads a part of the store at a time.
  void visit_users(const std::function<void(std::int64_t, std::string_view)>& visit) const;
  /// A column of items or users, whole, by its full name. Throws ConfigError for another one.
  [[nodiscard]] TableColumn column(const std::string& full_name) const;
  /// Values of a category of any table: code kFirstValueCode + i is text i.
  [[nodiscard]] TextColumn vocabulary(const std::string& full_name) const;
  /// Columns of users and events, by full name, that batches have from now on; those of other tables are passed over, as
  /// are names that are not there. Not to be called while batches are made.
  void keep_columns(const std::vector<std::string>& full_names);
  /// Those of users among them.
  [[nodiscard]] const UserColumns& user_columns() const;
  /// Original id of an item.
  [[nodiscard]] std::string item_name(std::int64_t item) const;
  /// The events of a row that belong to training, in order.
  [[nodiscard]] std::vector<std::int64_t> training_events(std::int64_t row) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What `decant inspect` prints of a dataset folder: counts, lengths, hashes, parts; verifies every checksum.
[[nodiscard]] base::Json inspect_dataset(const fs::path& folder);

}  // namespace decant::data
