#include "data/column_encoder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "data/errors.h"
#include "data/id_text.h"

namespace decant::data {

namespace {

constexpr std::size_t kShown = 40;
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

std::string shown(std::string_view text) {
  return "'" + std::string(text.substr(0, kShown)) + (text.size() > kShown ? "...'" : "'");
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::string wrong_with_text(std::string_view text) { return valid_utf8(text) ? "" : "the text is not valid UTF-8"; }

ValueVerdict verdict_of(const std::string& choice) {
  if (choice == "drop") return ValueVerdict::kDrop;
  if (choice == "stop") return ValueVerdict::kWrong;
  return choice == "keep" ? ValueVerdict::kKeep : ValueVerdict::kMissing;
}

}  // namespace

ValueVerdict missing_value(const ColumnOptions& options, std::string& wrong) {
  const auto verdict = verdict_of(options.missing);
  if (verdict == ValueVerdict::kWrong) wrong = "there is no value, and the options say 'missing: stop'";
  return verdict;
}

ValueVerdict read_number(const ColumnOptions& options, std::string_view text, float& value, std::string& wrong) {
  text = trimmed(text);
  if (text.empty()) return missing_value(options, wrong);
  double read = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(read)) {
    wrong = shown(text) + " is no finite number";
    return ValueVerdict::kWrong;
  }
  if (read < 0) {
    const auto verdict = verdict_of(options.negative);
    if (verdict == ValueVerdict::kWrong) wrong = shown(text) + " is below 0, and the options say 'negative: stop'";
    if (verdict != ValueVerdict::kKeep) return verdict;
  }
  if (options.transform == "log") read = std::copysign(std::log1p(std::abs(read)), read);
  value = static_cast<float>(read);
  if (std::isfinite(value)) return ValueVerdict::kKeep;
  wrong = shown(text) + " is beyond the numbers of 32 bits";
  return ValueVerdict::kWrong;
}

float standardised(float value, const ColumnInfo& info) {
  const double standard = (static_cast<double>(value) - info.mean) / info.deviation;
  return std::isnan(value) ? 0.0F : static_cast<float>(standard);
}

Vocabulary make_vocabulary(const TextColumn& texts, std::span<const std::uint64_t> training, std::int64_t min_count) {
  const auto least = static_cast<std::uint64_t>(std::max<std::int64_t>(1, min_count));
  std::vector<std::uint32_t> order;
  for (std::uint32_t text = 0; text < training.size(); ++text)
    if (training[text] >= least) order.push_back(text);
  std::sort(order.begin(), order.end(), [&](auto a, auto b) {
    return training[a] != training[b] ? training[a] > training[b] : texts.at(a) < texts.at(b);
  });
  Vocabulary out;
  out.codes.assign(training.size(), kOtherCode);
  for (const auto text : order) {
    out.codes[text] = kFirstValueCode + static_cast<std::uint32_t>(out.values.size());
    out.values.push_back(texts.at(text));
  }
  return out;
}

void Moments::add(float value) {
  ++count_;
  const double away = static_cast<double>(value) - mean_;
  mean_ += away / count_;
  squares_ += away * (static_cast<double>(value) - mean_);
}

double Moments::deviation() const {
  const double found = count_ > 0 ? std::sqrt(squares_ / count_) : 0;
  return found > 0 ? found : 1;
}

ColumnCollector::ColumnCollector(std::string table, std::string name, const ColumnOptions& options, std::int64_t rows)
    : table_(std::move(table)),
      name_(std::move(name)),
      options_(options),
      rows_(static_cast<std::size_t>(rows)),
      set_(rows_, false) {
  if (options.kind == "category") raw_.resize(rows_);
  if (options.kind == "number") numbers_.assign(rows_, kNone);
  if (options.kind == "text") shown_.resize(rows_);
}

std::string ColumnCollector::set(std::int64_t row, std::string_view text) {
  const auto at = static_cast<std::size_t>(row);
  if (set_[at]) return {};
  set_[at] = true;
  std::string wrong;
  if (options_.kind == "number") {
    (void)read_number(options_, text, numbers_[at], wrong);
    return wrong;
  }
  if (options_.kind == "text") {
    if (wrong = wrong_with_text(text); wrong.empty()) shown_[at] = text;
    return wrong;
  }
  for (std::size_t from = 0; from <= text.size();) {
    const auto to =
        options_.separator.empty() ? text.size() : std::min(text.find(options_.separator, from), text.size());
    const auto piece = trimmed(text.substr(from, to - from));
    from = to + std::max<std::size_t>(1, options_.separator.size());
    if (piece.empty()) continue;
    if (wrong = wrong_with_text(piece); !wrong.empty()) return wrong;
    const auto number = texts_.number_of(StringTable::key_of(piece));
    auto& codes = raw_[at];
    if (codes.size() < static_cast<std::size_t>(options_.most_values) &&
        std::find(codes.begin(), codes.end(), number) == codes.end())
      codes.push_back(number);
  }
  return wrong;
}

void ColumnCollector::finish_categories(std::span<const std::uint32_t> training, TableColumn& out) {
  std::vector<std::uint64_t> counts(static_cast<std::size_t>(texts_.texts().size()));
  std::size_t width = 1;
  for (std::size_t row = 0; row < rows_; ++row) {
    width = std::max(width, raw_[row].size());
    for (const auto code : raw_[row]) counts[code] += training[row];
  }
  auto [values, codes] = make_vocabulary(texts_.texts(), counts, options_.min_count);
  out.codes.assign(rows_ * width, kMissingCode);
  for (std::size_t row = 0; row < rows_; ++row)
    for (std::size_t i = 0; i < raw_[row].size(); ++i) out.codes[row * width + i] = codes[raw_[row][i]];
  out.info.values = kFirstValueCode + values.size();
  out.info.width = static_cast<std::int64_t>(width);
  out.vocabulary = std::move(values);
}

void ColumnCollector::finish_numbers(std::span<const std::uint32_t> training, TableColumn& out) {
  Moments moments;
  for (std::size_t row = 0; row < rows_; ++row)
    if (training[row] > 0 && !std::isnan(numbers_[row])) moments.add(numbers_[row]);
  out.info.mean = moments.mean();
  out.info.deviation = moments.deviation();
  out.info.transform = options_.transform;
  out.numbers.resize(rows_);
  for (std::size_t row = 0; row < rows_; ++row) out.numbers[row] = standardised(numbers_[row], out.info);
}

TableColumn ColumnCollector::finish(std::span<const std::uint32_t> training, const TextColumn& ids) {
  TableColumn out;
  out.info.table = table_;
  out.info.name = name_;
  out.info.kind = options_.kind;
  out.info.role = options_.kind == "text" ? "shown" : options_.teacher_only ? "teacher_only" : "feature";
  for (std::size_t row = 0; row < rows_; ++row) {
    const bool there = options_.kind == "number" ? !std::isnan(numbers_[row])
                       : options_.kind == "text" ? !shown_[row].empty()
                                                 : !raw_[row].empty();
    if (there) continue;
    ++out.info.missing;
    if (options_.missing == "stop")
      throw base::ConfigError("the " + table_ + " '" + std::string(ids.at(static_cast<std::int64_t>(row))) +
                              "' has no " + name_ + ", and '" + table_ + "s.columns." + name_ +
                              ".missing: stop' asks for one");
  }
  if (options_.kind == "category") finish_categories(training, out);
  if (options_.kind == "number") finish_numbers(training, out);
  for (const auto& text : shown_) out.texts.push_back(text);
  return out;
}

}  // namespace decant::data
