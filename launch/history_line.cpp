#include "launch/history_line.h"

#include <algorithm>

#include "base/options.h"
#include "data/errors.h"

namespace decant::launch {

namespace {

constexpr std::string_view kBlanks = " \t";

void add(History& history, std::int64_t item) {
  if (item < 0)
    ++history.unknown;
  else
    history.items.push_back(item);
}

std::string text_of(const base::Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

History parse_object(std::string_view line, const std::string& path, std::int64_t line_number,
                     const ItemNumber& number_of) {
  const auto tree = base::Json::parse(line, nullptr, false);
  if (!tree.is_object() || !tree.contains("items") || !tree.at("items").is_array())
    throw data::DataError(path, "", line_number, "is no JSON object with a list 'items'");
  History history{tree.contains("id") ? text_of(tree.at("id")) : std::to_string(line_number)};
  for (const auto& item : tree.at("items")) add(history, number_of(text_of(item)));
  return history;
}

}  // namespace

History parse_history(std::string_view line, const std::string& path, std::int64_t line_number,
                      const ItemNumber& number_of) {
  History history;
  for (std::size_t at = 0; at < line.size();) {
    const auto begin = line.find_first_not_of(kBlanks, at);
    if (begin == std::string_view::npos) break;
    if (history.name.empty() && line[begin] == '{') return parse_object(line, path, line_number, number_of);
    at = std::min(line.find_first_of(kBlanks, begin), line.size());
    const auto word = line.substr(begin, at - begin);
    if (history.name.empty())
      history.name = word;
    else
      add(history, number_of(word));
  }
  return history;
}

}  // namespace decant::launch
