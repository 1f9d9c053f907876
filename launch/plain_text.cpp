#include "launch/plain_text.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/errors.h"

namespace decant::launch {

namespace {

using base::Json;

std::string scalar(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_flat(const Json& value) {
  return !value.is_structured() || (value.is_array() && std::none_of(value.begin(), value.end(), [](const Json& item) {
                                      return item.is_structured();
                                    }));
}

std::string flat(const Json& value) {
  if (!value.is_array()) return scalar(value);
  std::vector<std::string> items;
  for (const Json& item : value) items.push_back(scalar(item));
  return base::join(items);
}

std::vector<std::string> keys_of(const Json& map) {
  std::vector<std::string> out;
  for (const auto& [key, value] : map.items()) out.push_back(key);
  return out;
}

bool is_table(const Json& list) {
  if (!list.is_array() || list.empty() || !list.front().is_object()) return false;
  const auto keys = keys_of(list.front());
  return std::all_of(list.begin(), list.end(), [&](const Json& row) {
    return row.is_object() && keys_of(row) == keys &&
           std::all_of(row.begin(), row.end(), [](const Json& value) { return is_flat(value); });
  });
}

std::string padded(const std::string& text, std::size_t width) {
  return text + std::string(width > text.size() ? width - text.size() : 0, ' ');
}

void append_table(std::string& out, const Json& list, const std::string& indent) {
  std::vector<std::vector<std::string>> lines{keys_of(list.front())};
  for (const Json& row : list) {
    lines.emplace_back();
    for (const Json& value : row) lines.back().push_back(flat(value));
  }
  std::vector<std::size_t> widths(lines.front().size());
  for (const auto& line : lines)
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
  for (const auto& line : lines) {
    std::string text = indent;
    for (std::size_t i = 0; i < line.size(); ++i)
      text += i + 1 < line.size() ? padded(line[i], widths[i] + 2) : line[i];
    out += text + "\n";
  }
}

void append(std::string& out, const Json& tree, const std::string& indent) {
  if (is_flat(tree)) {
    out += indent + flat(tree) + "\n";
  } else if (is_table(tree)) {
    append_table(out, tree, indent);
  } else if (tree.is_array()) {
    for (const Json& item : tree) append(out, item, indent);
  } else {
    std::size_t width = 0;
    for (const auto& [key, value] : tree.items())
      if (is_flat(value)) width = std::max(width, key.size());
    for (const auto& [key, value] : tree.items()) {
      if (is_flat(value)) {
        out += indent + padded(key, width + 2) + flat(value) + "\n";
      } else {
        out += indent + key + "\n";
        append(out, value, indent + "  ");
      }
    }
  }
}

}  // namespace

std::string plain_text(const Json& tree) {
  std::string out;
  append(out, tree, "");
  return out;
}

void print_text(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw base::FileError("standard output", std::strerror(errno));
}

}  // namespace decant::launch
