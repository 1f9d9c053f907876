#include "data/history_events.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "base/files.h"
#include "data/column_encoder.h"
#include "data/errors.h"
#include "data/event_order.h"
#include "data/id_text.h"
#include "data/record_formats.h"
#include "data/user_events.h"

namespace decant::data {

namespace {

constexpr std::size_t kItem = 0, kTime = 1;  // places among the fields
constexpr char kKindField[] = "event", kKind[] = "kind";
constexpr std::size_t kShown = 40;

std::string shown(std::string_view text) { return "'" + printable(text, kShown) + "'"; }

bool is_gap(const ColumnInfo& info) { return info.name == kGapName; }

/// The options of the import that histories go by; the defaults where the manifest has none.
InteractionOptions import_options(const fs::path& manifest_path) {
  const auto manifest = base::load_document(manifest_path, kDatasetFormat, kDatasetVersion);
  InteractionOptions options;
  const base::Json::json_pointer place("/import/interactions");
  if (!manifest.contains(place)) return options;
  base::Json known = base::Json::object();
  for (const char* name : {"time_format", "empty_values", "event", "keep_events", "context"})
    if (manifest.at(place).contains(name)) known[name] = manifest.at(place).at(name);
  try {
    base::read_options(known, options, "import.interactions");
  } catch (const base::ConfigError& error) {
    throw DataError(manifest_path.string(), error.what());
  }
  return options;
}

}  // namespace

/// A history while it is read.
struct HistoryFields::Draft {
  UserEvents events;  // one row
  std::vector<std::string> texts{};
  std::size_t read = 0, timed = 0, first_without_time = 0;
  bool told = false;  // any value of a column
};

HistoryFields::HistoryFields(InteractionOptions options, std::vector<EventColumn> columns,
                             const std::vector<std::string>& asked)
    : options_(std::move(options)), times_(options_.time_format), fields_{{"item"}, {"time"}} {
  if (!options_.event.empty()) fields_.push_back({kKindField});
  for (auto& [info, vocabulary] : columns) {
    const bool read = std::find(asked.begin(), asked.end(), info.full_name()) != asked.end();
    add_field(info, read ? columns_.size() : kNotRead);
    if (!read) continue;
    columns_.push_back(info);
    Reading& reading = readings_.emplace_back();
    if (const auto* known = options_.context.find(info.name)) reading.options = *known;
    reading.options.transform = info.transform;
    reading.options.missing = "fill";
    reading.texts = std::move(vocabulary);
    for (std::int64_t i = 0; i < reading.texts.size(); ++i)
      reading.codes.emplace(reading.texts.at(i), kFirstValueCode + static_cast<std::uint32_t>(i));
  }
}

std::size_t HistoryFields::find(std::string_view name) const {
  const auto at = std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return field.name == name; });
  return static_cast<std::size_t>(at - fields_.begin());
}

void HistoryFields::add_field(const ColumnInfo& info, std::size_t column) {
  if (is_gap(info) || info.kind == "time" || info.kind == "weight") return;
  if (info.name != kKind) {
    const bool taken = info.name == kKindField || find(info.name) < fields_.size();
    fields_.push_back({taken ? info.full_name() : info.name, column});
  } else if (const auto at = find(kKindField); at < fields_.size()) {
    fields_[at].column = column;
  } else {
    fields_.push_back({kKindField, column});
  }
}

std::string HistoryFields::take_fields(const base::Json& event, std::vector<std::string>& texts) const {
  texts.assign(fields_.size(), {});
  if (!event.is_object()) {
    texts[kItem] = event.is_string() ? event.get<std::string>() : event.dump();
    return {};
  }
  for (const auto& entry : event.items()) {
    const auto at = find(entry.key());
    if (at == fields_.size()) {
      std::vector<std::string> known;
      for (const Field& field : fields_) known.push_back(field.name);
      return shown(entry.key()) + " is no field of an event (known: " + base::join(known) + ")";
    }
    if (!json_text(entry.value(), texts[at])) return entry.key() + ": a list or an object is no value";
  }
  return {};
}

std::string HistoryFields::encode(std::size_t column, std::string_view text, std::uint32_t& value) const {
  const Reading& reading = readings_[column];
  const ColumnInfo& info = columns_[column];
  std::string wrong;
  if (info.kind == "number") {
    float number = std::numeric_limits<float>::quiet_NaN();
    if (read_number(reading.options, text, number, wrong) == ValueVerdict::kDrop)
      wrong = shown(text) + " is below 0, and the import drops such events ('negative: drop')";
    const float standard = standardised(number, info);
    if (wrong.empty() && !std::isfinite(standard)) wrong = shown(text) + " is beyond what training has seen by far";
    value = std::bit_cast<std::uint32_t>(standard);
    return wrong;
  }
  value = kMissingCode;
  if (text.empty()) return wrong;
  const auto at = reading.codes.find(text);
  value = at == reading.codes.end() ? kOtherCode : at->second;
  return wrong_with_id(text);
}

std::string HistoryFields::read_event(const base::Json& event, const ItemNumber& number_of, Draft& draft) const {
  if (auto wrong = take_fields(event, draft.texts); !wrong.empty()) return wrong;
  const Emptiness empty(options_);
  const auto cell = [&](std::size_t field) { return empty.of(draft.texts[field]); };
  if (event.is_object() && cell(kItem).empty()) return "there is no item";
  const auto time = times_.read(cell(kTime));
  if (!time && !cell(kTime).empty())
    return "time " + shown(cell(kTime)) + " is no time of the format '" + options_.time_format + "'";
  draft.timed += time.has_value();
  if (!time && draft.first_without_time == 0) draft.first_without_time = draft.read;
  std::vector<std::uint32_t> values(columns_.size(), kMissingCode);
  for (std::size_t field = kTime + 1; field < fields_.size(); ++field) {
    const auto& [name, column] = fields_[field];
    const auto& kept = options_.keep_events;
    if (name == kKindField && !kept.empty() && !cell(field).empty() &&
        std::find(kept.begin(), kept.end(), cell(field)) == kept.end())
      return "event " + shown(cell(field)) + " is of a kind that the import drops (it keeps: " + base::join(kept) + ")";
    if (column == kNotRead) continue;
    draft.told = draft.told || !cell(field).empty();
    if (auto wrong = encode(column, cell(field), values[column]); !wrong.empty())
      return wrong.insert(0, ": ").insert(0, name);
  }
  const auto item = number_of(event.is_object() ? cell(kItem) : draft.texts[kItem]);
  if (item < 0) return {};
  draft.events.items.push_back(static_cast<std::uint32_t>(item));
  draft.events.times.push_back(time.value_or(0));
  for (std::size_t c = 0; c < values.size(); ++c) draft.events.columns[c].push_back(values[c]);
  return {};
}

std::string HistoryFields::read(const base::Json& list, const ItemNumber& number_of, HistoryEvents& out) const {
  Draft draft{UserEvents(EventShape{true, false, columns_.size()})};
  for (const auto& event : list) {
    ++draft.read;
    if (const auto wrong = read_event(event, number_of, draft); !wrong.empty())
      return "event " + std::to_string(draft.read) + ": " + wrong;
  }
  if (draft.timed > 0 && draft.timed < draft.read)
    return "event " + std::to_string(draft.first_without_time) + ": there is no time, and other events have one";
  UserEvents& events = draft.events;
  events.rows.push_back({});
  events.offsets.push_back(events.items.size());
  if (draft.timed > 0) sort_rows(events);
  out.items.assign(events.items.begin(), events.items.end());
  out.unknown = static_cast<std::int64_t>(draft.read - events.items.size());
  out.values.clear();
  const bool gaps = draft.timed > 0 && std::any_of(columns_.begin(), columns_.end(), is_gap);
  if (!draft.told && !gaps) return {};
  out.values.resize(columns_.size());
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (is_gap(columns_[c])) {
      if (gaps) out.values[c].times = events.times;
    } else if (columns_[c].kind == "number") {
      for (const std::uint32_t bits : events.columns[c]) out.values[c].numbers.push_back(std::bit_cast<float>(bits));
    } else {
      out.values[c].codes = std::move(events.columns[c]);
    }
  }
  return {};
}

HistoryFields history_fields(const Dataset& dataset, const std::vector<std::string>& asked) {
  std::vector<EventColumn> columns;
  for (const ColumnInfo& info : dataset.columns()) {
    if (info.table != "event") continue;
    const bool read = std::find(asked.begin(), asked.end(), info.full_name()) != asked.end();
    columns.push_back({info, read && info.kind == "category" ? dataset.vocabulary(info.full_name()) : TextColumn()});
  }
  return {import_options(dataset.info().folder / kManifestName), std::move(columns), asked};
}

}  // namespace decant::data
