// From the texts of a column to codes and standardised numbers. Whatever is learnt from values, such as vocabulary, mean
// and deviation, is learnt from training.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/column.h"
#include "data/column_options.h"
#include "data/dataset_layout.h"
#include "data/event_log.h"
#include "data/table_column.h"

namespace decant::data {

/// What becomes of a value.
enum class ValueVerdict : std::uint8_t { kKeep, kMissing, kDrop, kWrong };

/// Reads one number as the options say: not yet standardised. kWrong: `wrong` tells why.
[[nodiscard]] ValueVerdict read_number(const ColumnOptions& options, std::string_view text, float& value,
                                       std::string& wrong);

/// What is stored of a number: 0, the mean, where there is none (NaN).
[[nodiscard]] float standardised(float value, const ColumnInfo& info);

/// What an empty value means. kWrong: `wrong` tells why.
[[nodiscard]] ValueVerdict missing_value(const ColumnOptions& options, std::string& wrong);

/// The vocabulary of a category, and the code of each of its texts by first appearance.
struct Vocabulary {
  TextColumn values;                 // of code kFirstValueCode + i: by falling count, ties by text
  std::vector<std::uint32_t> codes;  // [texts]
};
/// `training`: how often training has each of `texts`; what it has less than min_count times, and never, is other.
[[nodiscard]] Vocabulary make_vocabulary(const TextColumn& texts, std::span<const std::uint64_t> training,
                                         std::int64_t min_count);

/// Mean and deviation over what is added (Welford 1962); a deviation of 0 counts as 1.
class Moments {
 public:
  void add(float value);
  [[nodiscard]] double mean() const { return mean_; }
  [[nodiscard]] double deviation() const;

 private:
  double count_ = 0, mean_ = 0, squares_ = 0;
};

/// Collects the values of a column of items or users, in any order of rows; a row's later value is not looked at.
class ColumnCollector {
 public:
  /// References must outlive it. REQUIRES: options without 'drop'.
  ColumnCollector(std::string table, std::string name, const ColumnOptions& options, std::int64_t rows);
  /// Text of a row, empty: missing. Returns what is wrong with it, or nothing.
  [[nodiscard]] std::string set(std::int64_t row, std::string_view text);
  /// `training`: how many training events each row has; rows with none teach nothing. Fills info but for the hash.
  /// Throws DataError naming the column when a row has no value and the options say stop; `ids` names the rows.
  [[nodiscard]] TableColumn finish(std::span<const std::uint32_t> training, const TextColumn& ids);

 private:
  void finish_categories(std::span<const std::uint32_t> training, TableColumn& out);
  void finish_numbers(std::span<const std::uint32_t> training, TableColumn& out);

  std::string table_, name_;
  const ColumnOptions& options_;
  std::size_t rows_;
  std::vector<bool> set_;                        // rows that were told
  StringTable texts_;                            // distinct categories
  std::vector<std::vector<std::uint32_t>> raw_;  // of each row, by first appearance; in texts_
  std::vector<float> numbers_;                   // NaN: missing
  std::vector<std::string> shown_;               // of kind text
};

}  // namespace decant::data
