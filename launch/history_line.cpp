#include "launch/history_line.h"

#include <algorithm>

#include "base/options.h"
#include "data/errors.h"

namespace decant::launch {

namespace {

constexpr std::string_view kBlanks = " \t";

void add(data::HistoryEvents& events, std::int64_t item) {
  if (item < 0)
    ++events.unknown;
  else
    events.items.push_back(item);
}

std::string text_of(const base::Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

History parse_object(std::string_view line, const std::string& path, std::int64_t line_number,
                     const data::ItemNumber& number_of, const data::HistoryFields& fields) {
  const auto tree = base::Json::parse(line, nullptr, false);
  if (!tree.is_object() || !tree.contains("items") || !tree.at("items").is_array())
    throw data::DataError(path, "", line_number, "is no JSON object with a list 'items'");
  History history{tree.contains("id") ? text_of(tree.at("id")) : std::to_string(line_number)};
  const auto& list = tree.at("items");
  if (std::none_of(list.begin(), list.end(), [](const auto& item) { return item.is_object(); })) {
    for (const auto& item : list) add(history.events, number_of(text_of(item)));
    return history;
  }
  if (const auto wrong = fields.read(list, number_of, history.events); !wrong.empty())
    throw data::DataError(path, "", line_number, wrong);
  return history;
}

}  // namespace

History parse_history(std::string_view line, const std::string& path, std::int64_t line_number,
                      const data::ItemNumber& number_of, const data::HistoryFields& fields) {
  History history;
  for (std::size_t at = 0; at < line.size();) {
    const auto begin = line.find_first_not_of(kBlanks, at);
    if (begin == std::string_view::npos) break;
    if (history.name.empty() && line[begin] == '{') return parse_object(line, path, line_number, number_of, fields);
    at = std::min(line.find_first_of(kBlanks, begin), line.size());
    const auto word = line.substr(begin, at - begin);
    if (history.name.empty())
      history.name = word;
    else
      add(history.events, number_of(word));
  }
  return history;
}

}  // namespace decant::launch
