// Records of a file, delimited text, JSON lines or Parquet, as the cells of the columns that are asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/errors.h"
#include "data/line_reader.h"
#include "data/record_options.h"
#include "data/time_text.h"

namespace decant::data {

/// What a column is for. Files with types of their own (Parquet) are asked for one that can serve it.
enum class ColumnUse : std::uint8_t { kText, kNumber, kTime };

struct WantedColumn {
  std::string name;    // what messages call it: the name of its option
  std::string source;  // name in the header, number from 1 without one, JSON key or pointer; empty: not there
  ColumnUse use = ColumnUse::kText;
};

/// One value of a record: a text; of a column of type timestamp or date that is for times, the time in its stead.
struct Cell {
  std::string_view text;
  std::optional<Micros> time;
  /// There is no value (null, "", one of `empty_values`), or the column is not there.
  [[nodiscard]] bool empty() const { return text.empty() && !time; }
};

struct Record {
  std::span<const Cell> cells;  // of each wanted column, in their order
  std::int64_t number = 0;      // the line where it begins, from 1; of Parquet the row, from 0
};

/// Reads the records of one file. Blank lines are passed over.
class RecordReader {
 public:
  /// `unit`: "line" or "row".
  RecordReader(std::string path, std::string unit) : path_(std::move(path)), unit_(std::move(unit)) {}
  virtual ~RecordReader() = default;
  RecordReader(const RecordReader&) = delete;
  RecordReader& operator=(const RecordReader&) = delete;

  /// False at the end. What is wrong with the record goes to `wrong`, which is empty when nothing is. The cells are valid
  /// until the next call. Throws DataError for what leaves the rest of the file unreadable.
  [[nodiscard]] virtual bool next(Record& record, std::string& wrong) = 0;

  /// "file: line 3: why".
  [[nodiscard]] DataError error(const Record& record, const std::string& why) const {
    return {path_, unit_ + " " + std::to_string(record.number), -1, why};
  }

 private:
  std::string path_, unit_;
};

/// Whether the file is Parquet. REQUIRES: nothing has been read of it.
[[nodiscard]] bool is_parquet(const RecordOptions& options, LineReader& lines);

/// `lines`: the file, of which nothing has been read yet; at the end of the records it is at its end too, so that it knows
/// the file's hash. Throws DataError when the file lacks a column, naming those it has, or when a column of a Parquet file
/// is of a type that cannot serve; ConfigError when a source cannot name a column, or this build reads no Parquet.
/// References must outlive the reader.
[[nodiscard]] std::unique_ptr<RecordReader> make_record_reader(const RecordOptions& options,
                                                               std::vector<WantedColumn> columns, LineReader& lines,
                                                               const std::string& path);

}  // namespace decant::data
