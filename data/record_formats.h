// The readers behind make_record_reader(), and what they share.
#pragma once

#include <algorithm>

#include "data/record_reader.h"

namespace decant::data {

[[nodiscard]] std::unique_ptr<RecordReader> make_delimited_reader(const RecordOptions& options,
                                                                  std::vector<WantedColumn> columns, LineReader& lines,
                                                                  const std::string& path);
[[nodiscard]] std::unique_ptr<RecordReader> make_json_reader(const RecordOptions& options,
                                                             std::vector<WantedColumn> columns, LineReader& lines,
                                                             const std::string& path);
[[nodiscard]] std::unique_ptr<RecordReader> make_parquet_reader(const RecordOptions& options,
                                                                std::vector<WantedColumn> columns, LineReader& lines,
                                                                const std::string& path);

inline constexpr std::string_view kBlanks = " \t";

[[nodiscard]] inline std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

[[nodiscard]] inline bool is_blank(std::string_view line) {
  return line.find_first_not_of(kBlanks) == std::string_view::npos;
}

/// Texts that stand for no value become empty, others lose the blanks around them.
class Emptiness {
 public:
  explicit Emptiness(const RecordOptions& options) : texts_(options.empty_values) {}
  [[nodiscard]] std::string_view of(std::string_view text) const {
    text = trimmed(text);
    return std::find(texts_.begin(), texts_.end(), text) == texts_.end() ? text : std::string_view();
  }

 private:
  const std::vector<std::string>& texts_;
};

/// A value of JSON as the text of a cell: none of null. False for a list or an object.
template <class Json>
[[nodiscard]] bool json_text(const Json& value, std::string& text) {
  text.clear();
  if (value.is_structured()) return false;
  if (!value.is_null()) text = value.is_string() ? value.template get<std::string>() : value.dump();
  return true;
}

/// "a, b, c" for a message, cut where it is long.
[[nodiscard]] std::string shown_list(const std::vector<std::string>& names);

}  // namespace decant::data
