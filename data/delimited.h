// Lines of columns (CSV and its kin, RFC 4180 where values are quoted).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace decant::data {

/// Cuts records into columns. A value may be in double quotes when it begins with one; it then may have separators, line
/// ends and doubled quotes in it. A quote within an unquoted value is a character like any other.
class ColumnSplitter {
 public:
  /// `separator`: at least one byte; `quotes`: whether they mean anything.
  ColumnSplitter(std::string separator, bool quotes) : separator_(std::move(separator)), quotes_(quotes) {}

  enum class End { kWhole, kOpenQuote, kTextAfterQuote };
  /// Columns of `record`, valid until the next call and as long as `record` is. kOpenQuote: it goes on in the next line.
  [[nodiscard]] End split(std::string_view record, std::vector<std::string_view>& columns);

 private:
  std::string separator_;
  bool quotes_;
  std::vector<std::string> unquoted_;  // values with doubled quotes
};

}  // namespace decant::data
