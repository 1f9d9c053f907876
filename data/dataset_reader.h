// The stored side of a dataset: opening, verifying, and rows by way of the block cache.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/column.h"
#include "data/dataset.h"
#include "data/dataset_layout.h"
#include "data/event_columns.h"
#include "data/hdf5_file.h"
#include "data/lru_cache.h"

namespace decant::data {

struct DatasetPart {
  fs::path path;
  std::int64_t first_row = 0, rows = 0, events = 0, bytes = 0;
};

/// The events of up to kBlockRows rows.
struct EventBlock {
  std::vector<std::uint32_t> values;
  std::vector<std::uint32_t> offsets;  // [rows + 1]

  [[nodiscard]] std::size_t bytes() const { return 4 * (values.size() + offsets.size()); }
  [[nodiscard]] std::span<const std::uint32_t> row(std::size_t r) const {
    return std::span(values).subspan(offsets[r], offsets[r + 1] - offsets[r]);
  }
};

/// The events of one row; they live as long as this does.
struct RowEvents {
  std::shared_ptr<const EventBlock> block;
  std::span<const std::uint32_t> items;
};

/// The values of one column of the events of one row, aligned with its items; they live as long as this does.
struct RowValues : EventValues {
  std::shared_ptr<const ValueBlock> block;  // of up to kBlockRows rows
};

/// See Dataset, whose storage this is. Thread-safe.
class DatasetReader {
 public:
  DatasetReader(const fs::path& folder, std::size_t cache_bytes);

  [[nodiscard]] const DatasetInfo& info() const { return info_; }
  [[nodiscard]] const std::vector<DatasetPart>& parts() const { return parts_; }
  [[nodiscard]] const std::vector<std::int64_t>& counts() const { return counts_; }
  [[nodiscard]] const std::vector<std::uint32_t>& lengths() const { return lengths_; }
  /// Of items or users. Throws ConfigError for another name.
  [[nodiscard]] TableColumn column(const std::string& full_name) const;
  [[nodiscard]] std::int64_t cached_rows() const { return cached_rows_; }
  [[nodiscard]] int version() const { return version_; }
  /// Of all tables, in the order of the manifest.
  [[nodiscard]] const std::vector<ColumnInfo>& columns() const { return columns_; }
  /// Place in columns() of a column, such as "event.kind"; nothing when there is none.
  [[nodiscard]] std::optional<std::size_t> find_column(std::string_view full_name) const;

  [[nodiscard]] std::int64_t length(std::int64_t row) const {
    if (row < 0 || row >= info_.rows) no_such_row(row);
    return lengths_[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] RowSplit split(std::int64_t row) const {
    const auto events = static_cast<std::uint32_t>(length(row));
    return splits_.empty() ? leave_last_out(events) : splits_[static_cast<std::size_t>(row)];
  }
  [[nodiscard]] RowEvents events(std::int64_t row);
  /// The values of columns()[column] for the events of a row. Blocks of columns are kept in a cache of their own, as large
  /// as that of the items; nothing is read of columns that nobody asks for. REQUIRES: a column of events.
  [[nodiscard]] RowValues values(std::int64_t row, std::size_t column);
  /// Texts of a category: of code kFirstValueCode + i. REQUIRES: a column of events.
  [[nodiscard]] TextColumn vocabulary(std::size_t column) const;
  [[nodiscard]] const TextColumn& names();
  /// Reads and checks the users' ids of a part, which nothing but inspection and export needs.
  [[nodiscard]] TextColumn users(std::size_t part);

 private:
  void read_manifest(const fs::path& folder);
  void read_catalogue(const base::Json& manifest, const fs::path& manifest_path);
  void read_columns(const base::Json& manifest, const fs::path& manifest_path);
  void read_lengths();
  [[nodiscard]] std::shared_ptr<const Hdf5File> file(std::size_t part);
  void read_splits(const Hdf5File& file, const DatasetPart& part);
  [[nodiscard]] std::shared_ptr<const EventBlock> block(std::int64_t number);
  [[nodiscard]] std::shared_ptr<const ValueBlock> value_block(std::int64_t number, std::size_t column,
                                                              std::size_t events);
  [[noreturn]] void no_such_row(std::int64_t row) const;

  DatasetInfo info_;
  std::int64_t part_rows_ = 0, cached_rows_ = 0;
  std::vector<DatasetPart> parts_;
  int version_ = 1;
  std::vector<ColumnInfo> columns_;
  std::vector<std::uint32_t> lengths_;        // [rows]
  std::vector<RowSplit> splits_;              // [rows]; none: leave-last-out
  std::vector<std::uint64_t> block_offsets_;  // of each block's first event within its part
  std::vector<std::int64_t> counts_;          // [items]
  fs::path catalogue_path_, columns_path_;
  std::once_flag names_read_;
  TextColumn item_names_;
  LruCache<Hdf5File> files_;
  LruCache<EventBlock> blocks_;
  LruCache<ValueBlock> value_blocks_;
};

}  // namespace decant::data
