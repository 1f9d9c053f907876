// Values of Arrow's arrays as cells.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "data/record_reader.h"

namespace decant::data {

/// Reads one column, array after array.
class ArrowColumn {
 public:
  virtual ~ArrowColumn() = default;
  virtual void take(const arrow::Array& array) = 0;
  /// The cell of a row of the array taken last, which must live as long as the cell is used. What is wrong with the value
  /// goes to `wrong`.
  virtual void read(std::int64_t row, Cell& cell, std::string& wrong) = 0;
};

/// Nothing when the type cannot serve the use:
///  texts, integers, floating point numbers and decimals serve any; booleans a text only;
///  timestamps and dates a text (as ISO 8601, in UTC) or a time. Dictionaries are as their values.
[[nodiscard]] std::unique_ptr<ArrowColumn> make_arrow_column(const arrow::DataType& type, ColumnUse use);

}  // namespace decant::data
