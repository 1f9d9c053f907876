// From the lines of a log to the values of its events.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "data/interaction_options.h"
#include "data/line_reader.h"

namespace decant::data {

/// What of an event is read. The name of each is that of its option.
enum class Value : std::uint8_t { kUser, kItem, kTime, kEvent, kRating, kQuantity };
inline constexpr std::size_t kValues = 6;
[[nodiscard]] const char* name_of(Value value);

/// One event as texts; empty: not there, or not asked for.
struct Record {
  std::array<std::string_view, kValues> values;
  std::int64_t line = 0;  // where it begins
  [[nodiscard]] std::string_view operator[](Value value) const { return values[static_cast<std::size_t>(value)]; }
};

/// Reads records of one file.
class RecordReader {
 public:
  virtual ~RecordReader() = default;
  /// False at the end. What is wrong with the record goes to `wrong`, which is empty when nothing is. The record's texts
  /// are valid until the next call.
  [[nodiscard]] virtual bool next(Record& record, std::string& wrong) = 0;
};

/// Throws DataError when the file's header lacks a column, naming those it has. References must outlive the reader.
[[nodiscard]] std::unique_ptr<RecordReader> make_record_reader(const InteractionOptions& options, LineReader& lines,
                                                               const std::string& path);

}  // namespace decant::data
