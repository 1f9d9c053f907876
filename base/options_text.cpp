#include "base/options_text.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace decant::base {

namespace {

std::string number_text(double value) {
  // Whole numbers without the ".0" that JSON would print.
  if (value == std::floor(value) && std::abs(value) < 1e15) return std::to_string(static_cast<std::int64_t>(value));
  return Json(value).dump();
}

/// Edit distance in which a swap of neighbours counts once, for that is how keys are mistyped.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = std::min(now[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, now);
  }
  return last[b.size()];
}

}  // namespace

std::string range_text(const Range& range) {
  const bool low = std::isfinite(range.low), high = std::isfinite(range.high);
  if (low && high) return number_text(range.low) + " to " + number_text(range.high);
  if (low) return ">= " + number_text(range.low);
  if (high) return "<= " + number_text(range.high);
  return "";
}

std::string value_text(const Json& value) {
  if (value.is_null()) return "nothing";
  if (value.is_object()) return "a map";
  if (value.is_array()) return "a list";
  if (!value.is_string()) return value.dump();
  constexpr std::size_t kShown = 60;
  const auto& text = value.get_ref<const std::string&>();
  return "'" + (text.size() > kShown ? text.substr(0, kShown) + "..." : text) + "'";
}

std::string child_key(const std::string& prefix, std::string_view name) {
  return prefix.empty() ? std::string(name) : prefix + "." + std::string(name);
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::numeric_limits<std::size_t>::max();
  for (const auto& candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    // A third of the letters wrong is still a slip; more is another word, and a wrong hint is worse than none.
    const std::size_t limit = std::max<std::size_t>(1, std::max(word.size(), candidate.size()) / 3);
    if (distance <= limit && distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string join(const std::vector<std::string>& words, std::string_view separator) {
  std::string out;
  for (const auto& word : words) {
    if (&word != &words.front()) out += separator;
    out += word;
  }
  return out;
}

void set_key(Json& tree, const std::string& key, Json value) {
  Json* node = &tree;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = key.find('.', begin);
    const std::string step = key.substr(begin, end - begin);
    if (step.empty()) throw ConfigError("'" + key + "' is not a key: it has an empty part");
    if (node->is_null()) *node = Json::object();
    if (!node->is_object()) {
      std::string what = "cannot set '" + key + "': ";
      what += begin == 0 ? "the top" : "'" + key.substr(0, begin - 1) + "'";
      what += " is " + value_text(*node) + ", not a map";
      if (node->is_string()) what += "; write that as {type: " + node->get<std::string>() + "} to set its options";
      throw ConfigError(what);
    }
    node = &(*node)[step];
    if (end == std::string::npos) break;
    begin = end + 1;
  }
  *node = std::move(value);
}

}  // namespace decant::base
