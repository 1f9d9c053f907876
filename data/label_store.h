// The label store: label sets, each a folder of soft labels by entity (row and position of the dataset), written in
// parts of fixed row ranges, the same bytes at any number of ranks (docs/file_formats.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/options.h"
#include "data/dataset.h"
#include "data/label_rows.h"
#include "data/packed_batch.h"

namespace decant::data {

/// Dataset rows [first_row, first_row + rows) of a part and the training targets they have.
struct LabelPart {
  std::int64_t first_row = 0, rows = 0, targets = 0;
};

/// Rows of one part: a function of the dataset only.
[[nodiscard]] std::int64_t label_part_rows(const Dataset& dataset);

/// Bytes a target takes on disk under `spec` before compression, and the targets of the whole training split.
[[nodiscard]] std::int64_t label_bytes_per_target(const LabelSpec& spec);
[[nodiscard]] std::int64_t training_targets(const Dataset& dataset, std::int64_t max_length);

/// Hash of the events that a row's labels are computed from: xxh3-64 over the events of its training window and the
/// target after it, as little-endian u32; of nothing for a row without a target.
[[nodiscard]] std::uint64_t label_row_hash(const Dataset& dataset, std::int64_t row, std::int64_t max_length);

/// Writes the parts of one set. Any rank may write any part; a part is whole or absent; `finish` (one rank, after all
/// parts are there) checks that every part is present and writes the manifest. Work of another key found in `folder` is
/// removed by `prepare` (one rank, before any `write_part`).
class LabelWriter {
 public:
  LabelWriter(const fs::path& folder, const Dataset& dataset, LabelSpec spec);
  void prepare() const;
  [[nodiscard]] std::int64_t parts() const;
  [[nodiscard]] const std::shared_ptr<const LabelSpec>& spec() const { return spec_; }
  /// True when the part is there whole, verified, from an earlier run with the same key.
  [[nodiscard]] bool has_part(std::int64_t part) const;
  /// Dataset rows [first, second) of a part.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> part_rows(std::int64_t part) const;
  /// `labels` holds the targets of the part's rows in order; `threads` compress. Throws DataError when their number is
  /// not what the dataset says, or a value is not a number. `at` hears of "label-write" (a part half written) and
  /// "label-commit" (whole, under its temporary name).
  void write_part(std::int64_t part, const LabelRows& labels, int threads = 1,
                  const std::function<void(const char*)>& at = {}) const;
  void finish() const;

 private:
  /// Rows and targets of a part, as the dataset says.
  [[nodiscard]] LabelPart expected(std::int64_t part) const;
  /// A manifest with this key is there.
  [[nodiscard]] bool finished() const;

  fs::path folder_;
  const Dataset& dataset_;
  std::shared_ptr<const LabelSpec> spec_;
};

/// Read access to one set, verified as it is read; runs of targets are cached up to `cache_bytes`. Thread-safe.
class LabelSet {
 public:
  /// Throws DataError naming what differs when the set does not fit `dataset` (catalogue, events, max length).
  LabelSet(const fs::path& folder, const Dataset& dataset, std::int64_t max_length,
           std::size_t cache_bytes = std::size_t{1} << 30);
  /// A finished set of other events, rows of which may still hold: for has_row and read_row only.
  static LabelSet of_other_events(const fs::path& folder, const Dataset& dataset, std::int64_t max_length);
  LabelSet(LabelSet&&) noexcept;
  ~LabelSet();
  [[nodiscard]] const LabelSpec& spec() const;
  /// Labels of the targets of `batch`, in its order.
  [[nodiscard]] LabelRows read(const PackedBatch& batch) const;
  /// Whether the set has labels of the row, made from the events that the dataset has now.
  [[nodiscard]] bool has_row(std::int64_t row) const;
  /// Whether the set has labels of the row, of whatever events.
  [[nodiscard]] bool covers(std::int64_t row) const;
  /// Appends the labels of a row.
  void read_row(std::int64_t row, LabelRows& out) const;

 private:
  struct Impl;
  explicit LabelSet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// What a training run reads together: sets by name and folder, sharing `cache_bytes`.
class LabelStore {
 public:
  LabelStore(const std::map<std::string, fs::path>& folders, const Dataset& dataset, std::int64_t max_length,
             std::size_t cache_bytes = std::size_t{1} << 30);
  /// Throws ConfigError when the set is not among those opened.
  [[nodiscard]] const LabelSet& set(const std::string& name) const;
  [[nodiscard]] std::map<std::string, LabelRows> read(const PackedBatch& batch) const;
  /// Width of the column of that name in each set that has it.
  [[nodiscard]] std::map<std::string, std::int64_t> widths(const std::string& column) const;

 private:
  std::map<std::string, LabelSet> sets_;
};

/// What the manifest of a finished set says. Throws DataError when there is none.
[[nodiscard]] LabelSpec read_label_spec(const fs::path& folder);

/// Calls visit(part, first target of the run within the part, labels) over all of a set, in order.
void walk_labels(const fs::path& folder,
                 const std::function<void(const fs::path& part, std::int64_t first, const LabelRows&)>& visit);

/// What `decant inspect` prints of a set's folder; verifies every checksum.
[[nodiscard]] base::Json inspect_labels(const fs::path& folder);

}  // namespace decant::data
