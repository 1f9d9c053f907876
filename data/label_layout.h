// Names and rules of the label store that its writer, its reader and its inspection share (docs/file_formats.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/hdf5_file.h"
#include "data/label_store.h"

namespace decant::data {

inline constexpr char kLabelsFormat[] = "decant-labels";
inline constexpr int kLabelsVersion = 2;

inline constexpr char kRowTargets[] = "/rows/targets";
inline constexpr char kRowHash[] = "/rows/hash";
[[nodiscard]] std::string column_path(const LabelColumn& column);

/// Targets of one chunk, which are read and cached together: small, since a shuffled order wants a few neighbouring rows
/// of each at a time. At most 256, and at most 1 MiB.
[[nodiscard]] std::int64_t unit_targets(const LabelSpec& spec);

[[nodiscard]] ChunkFilters label_filters(const LabelSpec& spec);

/// Training targets of the dataset rows [first, last).
[[nodiscard]] std::int64_t targets_between(const Dataset& dataset, std::int64_t max_length, std::int64_t first,
                                           std::int64_t last);

/// A part's file and what its range is; from the manifest.
struct StoredPart {
  fs::path path;
  LabelPart range;
};
struct StoredLabels {
  std::shared_ptr<const LabelSpec> spec;
  std::int64_t part_rows = 0, targets = 0, bytes = 0;
  std::vector<StoredPart> parts;
};
/// The manifest, with every part's file there in its full size.
[[nodiscard]] StoredLabels read_stored_labels(const fs::path& folder);

/// Reads targets [first, first + count) of a part and checks the ids. `blame_row`: the dataset row an error names.
[[nodiscard]] LabelRows read_unit(const Hdf5File& file, const std::shared_ptr<const LabelSpec>& spec,
                                  std::int64_t first, std::int64_t count, std::int64_t blame_row);

/// Where the labels of a part's rows begin, [rows + 1].
[[nodiscard]] std::vector<std::uint32_t> read_row_offsets(const Hdf5File& file, const LabelPart& part);

/// Throws DataError when the file is of another key, range, number of targets, or has other columns.
void check_part(const Hdf5File& file, const LabelSpec& spec, const LabelPart& part);
/// Reads every byte of a part.
void verify_part(const Hdf5File& file, const std::shared_ptr<const LabelSpec>& spec, const LabelPart& part);
/// Throws DataError naming the first value that cannot be: an item outside of the catalogue, or no number.
void check_values(const LabelRows& labels, const std::string& path, std::int64_t blame_row = -1);

}  // namespace decant::data
