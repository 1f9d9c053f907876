#include "data/import_text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <vector>

#include "base/files.h"
#include "data/dataset_reader.h"

namespace decant::data {

namespace {

using base::Json;

/// 1234567: "1,234,567".
std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

std::string share(std::int64_t part, std::int64_t whole) {
  std::array<char, 16> text{};
  const double percent = whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
  std::snprintf(text.data(), text.size(), "%.1f %%", percent);
  return text.data();
}

struct Count {
  std::int64_t count = 0;
  std::string text;  // what it counts
};

class Lines {
 public:
  explicit Lines(const Json& summary) : summary_(summary) {}
  [[nodiscard]] std::int64_t at(const char* key) const { return summary_.value(key, std::int64_t{0}); }
  void add(std::int64_t count, const std::string& text) { counts_.push_back({count, text}); }
  void add_some(std::int64_t count, const std::string& text) {
    if (count > 0) add(count, text);
  }
  [[nodiscard]] const std::vector<Count>& counts() const { return counts_; }
  /// Counts to the right of a column, what they count beside them.
  [[nodiscard]] std::string text() const {
    constexpr std::size_t kWidth = 14;
    std::string out;
    for (const Count& count : counts_) {
      const std::string number = grouped(count.count);
      out += std::string(kWidth - std::min(kWidth, number.size()), ' ') + number + "  " + count.text + "\n";
    }
    return out;
  }

 private:
  const Json& summary_;
  std::vector<Count> counts_;
};

/// Why events of a log of interactions were dropped.
struct Reason {
  const char* key;
  const char* text;
};
constexpr std::array kBeforeSorting{
    Reason{"missing_values", "without user, item or time"},
    Reason{"other_kinds", "of kinds that are not kept"},
    Reason{"below_rating", "below the least rating"},
    Reason{"without_quantity", "with a quantity of 0 or less"},
    Reason{"outside_time", "outside the range of time"},
    Reason{"unwanted_values", "with a missing or negative value that is to be dropped"},
};

void add_dropped(Lines& lines, const Json& summary) {
  const Json interactions = summary.value("interactions", Json::object());
  const auto count = [&](const char* key) { return interactions.value(key, std::int64_t{0}); };
  lines.add_some(lines.at("malformed_lines"), "lines dropped: malformed");
  for (const Reason& reason : kBeforeSorting) lines.add_some(count(reason.key), std::string("dropped: ") + reason.text);
  lines.add_some(count("same_events"), "dropped: of the same user, item and time as another");
  lines.add_some(lines.at("repeats_collapsed"), "dropped: repeats of the item before");
  for (const std::string rule : {"k_core", "min_events"}) {
    const auto dropped = [&](const char* what) { return lines.at((what + ("_dropped_" + rule)).c_str()); };
    lines.add_some(dropped("events"), "dropped by " + rule + ": those of " + grouped(dropped("users")) + " users and " +
                                          grouped(dropped("items")) + " items");
  }
}

void add_users(Lines& lines, const Json& summary, std::vector<std::uint32_t> lengths) {
  std::sort(lengths.begin(), lengths.end());
  std::string what = "users";
  if (const auto found = summary.find("interactions");
      found != summary.end() && found->value("sessions", std::int64_t{0}) > 0)
    what = "sessions";
  lines.add(static_cast<std::int64_t>(lengths.size()), what + ", with " + grouped(lengths.front()) + " to " +
                                                           grouped(lengths.back()) + " events, " +
                                                           grouped(lengths[lengths.size() / 2]) + " in the middle");
}

void add_items(Lines& lines, std::vector<std::int64_t> counts) {
  std::sort(counts.begin(), counts.end(), std::greater<>());
  const std::int64_t training = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const auto first = static_cast<std::ptrdiff_t>(std::min<std::size_t>(10, counts.size()));
  std::size_t half = 0;
  for (std::int64_t sum = 0; half < counts.size() && 2 * sum < training; ++half) sum += counts[half];
  lines.add(static_cast<std::int64_t>(counts.size()),
            "items; the " + std::to_string(first) + " most frequent make " +
                share(std::accumulate(counts.begin(), counts.begin() + first, std::int64_t{0}), training) +
                " of training, " + grouped(static_cast<std::int64_t>(half)) + " make half of it");
}

/// "item": what was joined of files about items.
void add_attributes(Lines& lines, const Json& counts, const std::string& table) {
  std::string text = "lines about " + table + "s";
  for (const auto& [key, value] : counts.items()) {
    if (key == "lines" || value == 0) continue;
    std::string name = key;
    std::replace(name.begin(), name.end(), '_', ' ');
    text += "; " + grouped(value.get<std::int64_t>()) + " " + name;
  }
  lines.add(counts.value("lines", std::int64_t{0}), text);
}

}  // namespace

std::vector<std::string> dropped_text(const Json& summary) {
  Lines lines(summary);
  add_dropped(lines, summary);
  std::vector<std::string> out;
  for (const Count& count : lines.counts()) out.push_back(grouped(count.count) + " " + count.text);
  return out;
}

std::string import_text(const std::filesystem::path& dataset) {
  const DatasetReader reader(dataset, 1);
  const Json manifest = Json::parse(base::read_file(dataset / kManifestName));
  const Json& summary =
      manifest_field(manifest_field(manifest, "import", dataset / kManifestName), "summary", dataset / kManifestName);
  Lines lines(summary);
  const std::int64_t read = lines.at("lines");
  lines.add(read, "lines read");
  add_dropped(lines, summary);
  lines.add(reader.info().events, "events are left");
  add_users(lines, summary, reader.lengths());
  add_items(lines, reader.counts());
  lines.add(lines.at("valid_targets"), "targets of valid, split " + reader.info().split);
  lines.add(lines.at("test_targets"), "targets of test, " +
                                          share(lines.at("cold_test_targets"), lines.at("test_targets")) +
                                          " of them items that training never has");
  lines.add_some(lines.at("training_only_users"), "users without a target");
  for (const std::string table : {"item", "user"})
    if (const auto found = summary.find(table + "s_read"); found != summary.end()) add_attributes(lines, *found, table);
  std::string text = lines.text();
  if (const auto found = summary.find("interactions"); found != summary.end()) {
    const auto first = found->value("first_time", ""), last = found->value("last_time", "");
    if (!first.empty()) text += "from " + first + " to " + last + "\n";
    if (const auto against = found->value("against_split", std::int64_t{0}); against > 0)
      text += "note: " + grouped(against) + " events are earlier than an event of an earlier part of the split\n";
  }
  text.pop_back();
  return text;
}

}  // namespace decant::data
