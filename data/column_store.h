// columns.h5: the columns of items and users of a dataset store (docs/file_formats.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/table_column.h"

namespace decant::data {

/// Writes `folder`/columns.h5. What the manifest keeps of the file.
[[nodiscard]] base::Json write_columns(const std::filesystem::path& folder, const std::vector<TableColumn>& columns);

/// Reads one of `rows` rows. Throws DataError naming file and dataset: damage, another shape, a code out of range.
[[nodiscard]] TableColumn read_column(const std::filesystem::path& file, const ColumnInfo& info, std::int64_t rows);

/// Of what is stored.
[[nodiscard]] std::string hash_column(const TableColumn& column);

}  // namespace decant::data
