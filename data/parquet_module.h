// What libdecant_parquet.so offers: Parquet by way of Arrow, loaded only when a Parquet file is read, so that no other
// process pays for Arrow. The module knows no symbol of decant's libraries.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/record_reader.h"

namespace decant::data {

/// One file. Its functions throw std::runtime_error, which says why and not which file.
class ParquetFile {
 public:
  virtual ~ParquetFile() = default;
  [[nodiscard]] virtual std::int64_t rows() const = 0;
  /// Of the columns at the top of the schema.
  [[nodiscard]] virtual std::vector<std::string> names() const = 0;
  /// Chooses what next() reads. REQUIRES: every source is empty or one of names(). Throws when a column is of a type that
  /// cannot serve its use.
  virtual void select(const std::vector<WantedColumn>& columns) = 0;
  /// The cells of the next row, in the order of select(); false at the end. Nulls, and NaN, are empty cells. What is wrong
  /// with a value goes to `wrong`.
  [[nodiscard]] virtual bool next(std::span<Cell> cells, std::string& wrong) = 0;
};

/// The module's one function. `path` is that of a regular file. The caller owns what it returns.
using OpenParquet = ParquetFile* (*)(const char* path);
inline constexpr const char* kParquetModule = "libdecant_parquet.so";
inline constexpr const char* kOpenParquet = "decant_open_parquet_1";  // the number is that of this interface

}  // namespace decant::data
