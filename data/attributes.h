// Files of attributes of items or users, joined to a dataset by their ids.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/column_encoder.h"
#include "data/column_options.h"
#include "data/record_options.h"

namespace decant::data {

struct AttributeOptions : RecordOptions {
  /// `table`: item | user.
  explicit AttributeOptions(const std::string& table) : RecordOptions(table + "s") {}
  std::vector<std::string> files;
  std::string id = "id";  // column of the item's or user's id
  ColumnMap columns;      // named as jobs shall name them, after the table: item.<name>
  void describe(base::Fields& fields) override;
  /// Throws ConfigError for what no single field can know.
  void check() const;
  [[nodiscard]] bool on() const { return !files.empty(); }
};

/// What was read of the files of one table.
struct AttributeCounts {
  std::int64_t lines = 0, malformed_lines = 0;
  std::int64_t without_id = 0;   // lines that tell of nobody
  std::int64_t unknown_ids = 0;  // lines of ids that the dataset has not
  std::int64_t repeated = 0;     // further lines of an id: the first one counts
  std::int64_t absent = 0;       // items or users of the dataset without a line
  [[nodiscard]] base::Json to_json() const;
};

/// The rows that attributes are joined to.
struct AttributeRows {
  std::string table;                        // item | user
  const TextColumn& ids;                    // as the dataset has them
  std::span<const std::uint32_t> training;  // events of each row in training
  bool sessions = false;                    // ids are "<user>#<number>": every session of a user is a row
  std::function<std::string(std::string_view)> rename = {};  // from an id of a file to that of the dataset
};

/// One column of `rows` for each of the options. Throws DataError with file and line for what is malformed, unless
/// `skip_malformed` counts it. `hashes` gets that of each file.
[[nodiscard]] std::vector<TableColumn> read_attributes(const AttributeOptions& options, const AttributeRows& rows,
                                                       bool skip_malformed, AttributeCounts& counts,
                                                       std::vector<std::string>& hashes);

}  // namespace decant::data
