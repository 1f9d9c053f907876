// Columns of users as batches have them: a row's values beside each of its tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "data/packed_batch.h"
#include "data/table_column.h"

namespace decant::data {

class UserColumns {
 public:
  UserColumns() = default;
  explicit UserColumns(std::vector<TableColumn> columns) : columns_(std::move(columns)) {}
  /// Appends the columns, empty. REQUIRES: before any add() to this batch.
  void begin(PackedBatch& batch) const;
  /// Values of `tokens` more tokens of a row; -1: of nobody that is known, which has none.
  void add(PackedBatch& batch, std::int64_t row, std::int64_t tokens) const;
  [[nodiscard]] bool empty() const { return columns_.empty(); }

 private:
  std::vector<TableColumn> columns_;
};

}  // namespace decant::data
