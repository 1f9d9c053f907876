// Writes a dataset store, whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "data/dataset_layout.h"
#include "data/event_columns.h"
#include "data/table_column.h"

namespace decant::data {

/// A dataset in memory, without columns of events.
struct DatasetContent {
  TextColumn users;                       // [rows]
  std::vector<std::uint64_t> offsets{0};  // [rows + 1] events of row r: [offsets[r], offsets[r + 1])
  std::vector<std::uint32_t> events;      // item of each event
  TextColumn items;                       // [items]
  std::vector<TableColumn> columns;       // of items and users
  std::string split = kLeaveLastOut;
  std::vector<RowSplit> splits;              // [rows], where the split is another
  base::Json import = base::Json::object();  // how it came to be: key, options, summary; kept in the manifest

  [[nodiscard]] std::int64_t rows() const { return users.size(); }
};

/// Where a dataset comes to be: "<out>.tmp", made when it is first asked for, and removed with all that is in it unless it
/// was renamed to `out`.
class DatasetFolder {
 public:
  /// Throws ConfigError when `out` holds anything but an older dataset, which is replaced as a whole.
  explicit DatasetFolder(const fs::path& out);
  ~DatasetFolder();
  DatasetFolder(const DatasetFolder&) = delete;
  DatasetFolder& operator=(const DatasetFolder&) = delete;
  /// Throws FileError when it cannot be made. What a killed import left there is removed.
  [[nodiscard]] const fs::path& path();
  /// REQUIRES: all in it is synced.
  void commit();

 private:
  fs::path place_, path_;
  bool made_ = false;
};

/// What must be known of a part before its first row is written.
struct PartSize {
  std::int64_t rows = 0, events = 0;
  std::int64_t name_bytes = 0;  // of the users' ids
};

/// A column of events as the writer is told of it. On disk a value is u32 (category), f32 (number, weight) or i64 (time).
struct EventColumn {
  ColumnInfo info;        // the hash is the writer's to fill
  TextColumn vocabulary;  // category: text of code kFirstValueCode + i
};

/// Writes row by row; in memory is a chunk of every column.
class DatasetWriter {
 public:
  struct Shape {
    std::int64_t part_rows = kPartRows;  // a multiple of kBlockRows
    std::vector<PartSize> parts;         // all but the last have part_rows rows
    std::string split = kLeaveLastOut;
    std::vector<EventColumn> columns;
  };
  /// `folder`: where the files go. Throws DataError or FileError when the disk is full, as all of it does.
  DatasetWriter(fs::path folder, Shape shape);
  ~DatasetWriter();
  /// `values`: of each column of the shape. REQUIRES: as many rows, events and bytes as the shape says.
  void add(std::string_view user, std::span<const std::uint32_t> items, const RowSplit& split,
           std::span<const EventValues> values = {});
  /// `training`: how often each item occurs in training; `columns`: of items and users. After it nothing is open. `at` hears of "import-write" (the
  /// parts are there, the rest is not).
  void finish(const TextColumn& items, std::span<const std::uint32_t> training, const std::vector<TableColumn>& columns,
              const base::Json& import, const std::function<void(const char*)>& at = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes `content` to `out`; the folder appears whole. `at` hears of what finish tells, and of "import-commit" (whole,
/// under its temporary name).
void write_dataset(const DatasetContent& content, const fs::path& out, std::int64_t part_rows = kPartRows,
                   const std::function<void(const char*)>& at = {});

}  // namespace decant::data
