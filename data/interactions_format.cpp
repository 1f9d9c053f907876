#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include "data/errors.h"
#include "data/event_values.h"
#include "data/id_text.h"
#include "data/import_formats.h"
#include "data/interaction_records.h"
#include "data/time_text.h"

namespace decant::data {

namespace {

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// What to do with a record.
enum class Verdict : std::uint8_t { kKeep, kDrop, kMalformed };

/// Judges the events of one file, and counts those that are dropped.
class Judge {
 public:
  /// `columns`: of the log.
  Judge(const InteractionOptions& options, std::vector<LogColumn>& columns, InteractionCounts& counts)
      : options_(options),
        columns_(interaction_columns(options)),
        counts_(counts),
        times_(options.time_format),
        with_values_(!columns.empty()),
        values_(options, columns) {
    if (!options.from.empty()) from_ = times_.read(options.from);
    if (!options.until.empty()) until_ = times_.read(options.until);
  }

  /// `wrong`: why it is malformed. `time`: of an event that is kept, where there are times.
  Verdict of(const Record& record, Micros& time, std::string& wrong) {
    const auto verdict = of_event(record, time, wrong);
    if (verdict != Verdict::kKeep || !with_values_) return verdict;
    const auto values = values_.read(record, wrong);
    if (values == ValueVerdict::kDrop) return drop(counts_.unwanted_values);
    return values == ValueVerdict::kWrong ? Verdict::kMalformed : Verdict::kKeep;
  }

  /// Of the columns of the log, of the event that was kept last.
  [[nodiscard]] std::span<const std::uint32_t> values() const { return values_.values(); }

 private:
  Verdict of_event(const Record& record, Micros& time, std::string& wrong) {
    if (const auto verdict = missing(record, wrong); verdict != Verdict::kKeep) return verdict;
    const auto& kinds = options_.keep_events;
    if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), cell_of(record, Value::kEvent).text) == kinds.end())
      return drop(counts_.other_kinds);
    std::optional<double> rating, quantity;
    if (!options_.rating.empty() && !(rating = number_of(cell_of(record, Value::kRating).text)))
      return malformed(record, Value::kRating, "number", wrong);
    if (!options_.quantity.empty() && !(quantity = number_of(cell_of(record, Value::kQuantity).text)))
      return malformed(record, Value::kQuantity, "number", wrong);
    if (rating && !(*rating >= options_.min_rating)) return drop(counts_.below_rating);
    if (quantity && !(*quantity > 0)) return drop(counts_.without_quantity);
    if (!options_.time.empty()) {
      const auto& cell = cell_of(record, Value::kTime);
      const auto read = cell.time ? cell.time : times_.read(cell.text);
      if (!read) return malformed(record, Value::kTime, "time of the format '" + options_.time_format + "'", wrong);
      time = *read;
      if ((from_ && time < *from_) || (until_ && time >= *until_)) return drop(counts_.outside_time);
    }
    for (const auto value : {Value::kUser, Value::kItem})
      if (wrong = wrong_with_id(cell_of(record, value).text); !wrong.empty()) return Verdict::kMalformed;
    return Verdict::kKeep;
  }

  Verdict missing(const Record& record, std::string& wrong) {
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].source.empty() || !record.cells[c].empty()) continue;
      if (options_.missing == "drop") return drop(counts_.missing_values);
      wrong = "there is no " + columns_[c].name + " ('" + columns_[c].source +
              "' is empty; 'interactions.missing: drop' passes over such events)";
      return Verdict::kMalformed;
    }
    return Verdict::kKeep;
  }

  static Verdict drop(std::int64_t& count) {
    ++count;
    return Verdict::kDrop;
  }

  [[nodiscard]] Verdict malformed(const Record& record, Value value, const std::string& what,
                                  std::string& wrong) const {
    constexpr std::size_t kShown = 40;
    const auto text = cell_of(record, value).text;
    wrong = columns_[static_cast<std::size_t>(value)].name + " '" + printable(text, kShown) + "' is no " + what;
    if (record.number == 1 && options_.lines == "delimited" && !options_.header)
      wrong += "; does this line name the columns? 'interactions.header: true' reads names";
    return Verdict::kMalformed;
  }

  const InteractionOptions& options_;
  const std::vector<WantedColumn> columns_;
  InteractionCounts& counts_;
  TimeReader times_;
  std::optional<Micros> from_, until_;
  bool with_values_;
  EventValueReader values_;
};

/// Tells the part of the split of each event, where it is one by dates.
class PartOfTime {
 public:
  explicit PartOfTime(const ImportOptions& options) : temporal_(options.split == kTemporal) {
    if (!temporal_) return;
    const TimeReader times(options.interactions.time_format);
    valid_ = times.read(options.valid_from).value();
    test_ = times.read(options.test_from).value();
  }
  void set(Micros time, EventLog& log) const {
    if (temporal_) log.set_part(time < valid_ ? 0 : time < test_ ? 1 : 2);
  }

 private:
  bool temporal_;
  Micros valid_ = 0, test_ = 0;
};

}  // namespace

void read_interactions(const ImportSource& source, EventLog& log, ImportSummary& summary) {
  constexpr std::int64_t kRecordsATick = 1024;
  const auto& options = source.options.interactions;
  const std::string path = source.path.string();
  const auto reader = make_record_reader(options, wanted_columns(options), source.lines, path);
  Judge judge(options, log.columns(), *summary.interactions);
  const PartOfTime part(source.options);
  Record record;
  std::string wrong;
  while (reader->next(record, wrong)) {
    if (++summary.lines % kRecordsATick == 0) source.tick();
    Micros time = 0;
    const auto verdict = wrong.empty() ? judge.of(record, time, wrong) : Verdict::kMalformed;
    if (verdict == Verdict::kMalformed && !source.skip_malformed)
      throw reader->error(record, wrong + " (--on-error skip passes over such lines)");
    summary.malformed_lines += verdict == Verdict::kMalformed;
    if (verdict != Verdict::kKeep) continue;
    ++summary.events_read;
    const auto user = cell_of(record, Value::kUser).text, item = cell_of(record, Value::kItem).text;
    part.set(time, log);
    log.add(user, item, time, judge.values());
  }
}

}  // namespace decant::data
