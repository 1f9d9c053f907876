// Writes a dataset store, whole or not at all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/options.h"
#include "data/column_encoder.h"
#include "data/dataset_layout.h"

namespace decant::data {

/// A dataset in memory, as importers make it.
struct DatasetContent {
  TextColumn users;                          // [rows]
  std::vector<std::uint64_t> offsets{0};     // [rows + 1] events of row r: [offsets[r], offsets[r + 1])
  std::vector<std::uint32_t> events;         // item of each event
  TextColumn items;                          // [items]
  std::vector<Column> columns;               // of items and users; their hashes are made here
  base::Json import = base::Json::object();  // how it came to be: key, options, summary; kept in the manifest

  [[nodiscard]] std::int64_t rows() const { return users.size(); }
};

/// Events of the training split per item.
[[nodiscard]] std::vector<std::uint32_t> count_training(const DatasetContent& content);

/// Events of the training split of each row.
[[nodiscard]] std::vector<std::uint32_t> training_lengths(const DatasetContent& content);

/// Writes `content` under "<out>.tmp", syncs it and renames it to `out`; the folder appears whole. Throws ConfigError
/// when `out` holds anything but an older dataset, DataError or FileError when the disk is full.
/// `at` hears of "import-write" (the parts are there, the rest is not) and "import-commit" (whole, under its temporary
/// name). REQUIRES: part_rows is a multiple of kBlockRows.
void write_dataset(const DatasetContent& content, const fs::path& out, std::int64_t part_rows = kPartRows,
                   const std::function<void(const char*)>& at = {});

}  // namespace decant::data
