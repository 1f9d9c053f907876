// The label store: soft labels by entity (row and position of the dataset), written in parts of fixed row ranges, the
// same bytes at any number of ranks (docs/file_formats.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/dataset.h"
#include "data/packed_batch.h"

namespace decant::data {

/// What a store holds; written to its manifest, checked when it is opened for training.
struct LabelSpec {
  std::string key;             // of the stage that wrote it: teacher, dataset, options, versions
  std::string teacher_hash;    // of the teacher's weights
  std::string catalogue_hash;  // label space
  std::string content_hash;    // dataset whose events were labelled
  std::string kind = "topk";
  std::string exclusion = "none";
  std::string window = "last";
  std::string logit_dtype = "fp16";
  std::string computed_in = "fp32";  // dtype of the teacher's products
  std::int64_t view = 0;
  std::int64_t max_length = 0;
  std::int64_t k = 0;
  std::int64_t items = 0;
  std::int64_t rows = 0;
  std::vector<double> temperatures;
  [[nodiscard]] base::Json to_json() const;
  [[nodiscard]] static LabelSpec from_json(const base::Json& tree, const fs::path& path);
};

/// Dataset rows [first_row, first_row + rows) of a part and the training targets they have.
struct LabelPart {
  std::int64_t first_row = 0, rows = 0, targets = 0;
};

/// Rows of one part: a function of the dataset only.
[[nodiscard]] std::int64_t label_part_rows(const Dataset& dataset);

/// Bytes a target takes on disk under `spec`, and the targets of the whole training split.
[[nodiscard]] std::int64_t label_bytes_per_target(const LabelSpec& spec);
[[nodiscard]] std::int64_t training_targets(const Dataset& dataset, std::int64_t max_length);

/// Writes parts. Any rank may write any part; a part is whole or absent; `finish` (one rank, after all parts are there)
/// checks that every part is present and writes the manifest. Work of another key found in `folder` is removed by
/// `prepare` (one rank, before any `write_part`).
class LabelWriter {
 public:
  LabelWriter(const fs::path& folder, const Dataset& dataset, LabelSpec spec);
  void prepare() const;
  [[nodiscard]] std::int64_t parts() const;
  /// True when the part is there whole, verified, from an earlier run with the same key.
  [[nodiscard]] bool has_part(std::int64_t part) const;
  /// Dataset rows [first, second) of a part.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> part_rows(std::int64_t part) const;
  /// `labels` holds the targets of the part's rows in order. Throws DataError when their number is not what the
  /// dataset says.
  void write_part(std::int64_t part, const TopKLabels& labels) const;
  void finish() const;

 private:
  /// Rows and targets of a part, as the dataset says.
  [[nodiscard]] LabelPart expected(std::int64_t part) const;
  /// A manifest with this key is there.
  [[nodiscard]] bool finished() const;

  fs::path folder_;
  const Dataset& dataset_;
  LabelSpec spec_;
};

/// Read access, verified as it is read; runs of 256 targets are cached up to `cache_bytes`. Thread-safe.
class LabelStore {
 public:
  /// Throws DataError naming what differs when the store does not fit `dataset` (catalogue, events, max length).
  LabelStore(const fs::path& folder, const Dataset& dataset, std::int64_t max_length,
             std::size_t cache_bytes = std::size_t{1} << 30);
  ~LabelStore();
  [[nodiscard]] const LabelSpec& spec() const;
  /// Labels of the targets of `batch`, in its order.
  [[nodiscard]] TopKLabels read(const PackedBatch& batch) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

[[nodiscard]] base::Json inspect_labels(const fs::path& folder);

}  // namespace decant::data
