// Columns of items, users and events beside their ids: what models may take as inputs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/options.h"

namespace decant::data {

/// A code of a category: 0 where there is none, kOtherCode for what training has too rarely or never, then the values.
inline constexpr std::uint32_t kMissingCode = 0, kOtherCode = 1, kFirstValueCode = 2;

/// What the manifest says of a column.
struct ColumnInfo {
  std::string table;               // item | user | event
  std::string name;                // without the table
  std::string kind;                // category | number | text | time | weight
  std::string role = "feature";    // feature | teacher_only | time | weight | shown
  std::int64_t values = 0;         // category: number of codes, the two first ones included
  std::int64_t width = 1;          // category: codes a row; a row of fewer values ends with kMissingCode
  std::int64_t missing = 0;        // rows without a value
  double mean = 0, deviation = 1;  // number: what is stored is (value - mean) / deviation, over training only
  std::string transform = "none";  // number: what was done to a value before that
  std::string hash;                // xxh3-64 over what is stored, in the order of rows

  /// "item.brand": how jobs name it.
  [[nodiscard]] std::string full_name() const { return table + "." + name; }
  [[nodiscard]] bool teacher_only() const { return role == "teacher_only"; }
  [[nodiscard]] base::Json to_json() const;
  /// Throws DataError naming the file and the field.
  [[nodiscard]] static ColumnInfo from_json(const base::Json& tree, const std::filesystem::path& manifest);
};

/// The column "event.gap" of a dataset whose events keep their times: the time since the event before, as the category
/// kFirstValueCode + floor(log2(1 + seconds)); kMissingCode for a row's first event.
inline constexpr char kGapName[] = "gap";
inline constexpr std::int64_t kGapValues = kFirstValueCode + 40;
[[nodiscard]] std::uint32_t gap_code(std::int64_t before, std::int64_t now);

}  // namespace decant::data
