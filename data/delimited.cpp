#include "data/delimited.h"

#include <algorithm>

namespace decant::data {

namespace {

/// The place of the closing quote of the value that begins at `at` (behind its quote), npos when there is none.
std::size_t closing_quote(std::string_view record, std::size_t at, bool& doubled) {
  while (true) {
    at = record.find('"', at);
    if (at == std::string_view::npos || at + 1 >= record.size() || record[at + 1] != '"') return at;
    doubled = true;
    at += 2;
  }
}

std::string without_doubled(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    out.push_back(text[i]);
    if (text[i] == '"') ++i;
  }
  return out;
}

}  // namespace

ColumnSplitter::End ColumnSplitter::split(std::string_view record, std::vector<std::string_view>& columns) {
  columns.clear();
  // Views of texts in `unquoted_` must survive its growth.
  const auto most = static_cast<std::size_t>(std::count(record.begin(), record.end(), '"')) / 2;
  unquoted_.clear();
  unquoted_.reserve(most);
  std::size_t at = 0;
  while (true) {
    if (quotes_ && at < record.size() && record[at] == '"') {
      bool doubled = false;
      const std::size_t end = closing_quote(record, at + 1, doubled);
      if (end == std::string_view::npos) return End::kOpenQuote;
      const std::string_view text = record.substr(at + 1, end - at - 1);
      columns.push_back(doubled ? std::string_view(unquoted_.emplace_back(without_doubled(text))) : text);
      at = end + 1;
      if (at < record.size() && !record.substr(at).starts_with(separator_)) return End::kTextAfterQuote;
    } else {
      const std::size_t end = std::min(record.find(separator_, at), record.size());
      columns.push_back(record.substr(at, end - at));
      at = end;
    }
    if (at >= record.size()) return End::kWhole;
    at += separator_.size();
  }
}

}  // namespace decant::data
