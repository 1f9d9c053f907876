#include "data/event_values.h"

#include <bit>
#include <limits>
#include <utility>

#include "data/id_text.h"
#include "data/interaction_records.h"

namespace decant::data {

namespace {

constexpr std::uint32_t kNoNumber = std::bit_cast<std::uint32_t>(std::numeric_limits<float>::quiet_NaN());

LogColumn log_column(const std::string& name, const std::string& kind, const std::string& role) {
  LogColumn out;
  out.info.table = "event", out.info.name = name, out.info.kind = kind, out.info.role = role;
  return out;
}

}  // namespace

std::vector<LogColumn> event_columns(const InteractionOptions& options) {
  std::vector<LogColumn> out;
  if (!options.event.empty() && options.keep_events.size() != 1)
    out.push_back(log_column("kind", "category", "feature"));
  if (!options.event_weights.empty()) out.push_back(log_column("weight", "weight", "weight"));
  for (const auto& [name, column] : options.context) {
    out.push_back(log_column(name, column->kind, column->teacher_only ? "teacher_only" : "feature"));
    out.back().info.transform = column->transform;
    out.back().options = *column;
  }
  return out;
}

std::vector<WantedColumn> wanted_columns(const InteractionOptions& options) {
  std::vector<WantedColumn> out = interaction_columns(options);
  for (const auto& [name, column] : options.context)
    out.push_back({name, column->column.empty() ? name : column->column,
                   column->kind == "number" ? ColumnUse::kNumber : ColumnUse::kText});
  return out;
}

EventValueReader::EventValueReader(const InteractionOptions& options, std::vector<LogColumn>& columns)
    : columns_(columns), weights_(options.weights()), values_(columns.size()) {
  std::size_t context = interaction_columns(options).size();
  for (const LogColumn& column : columns) {
    const bool of_event = column.info.name == "kind" || column.info.name == "weight";
    cells_.push_back(of_event ? static_cast<std::size_t>(Value::kEvent) : context++);
  }
}

ValueVerdict EventValueReader::read(const Record& record, std::string& wrong) {
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const Cell& cell = record.cells[cells_[c]];
    const auto verdict = columns_[c].info.role == "weight" ? read_weight(cell, values_[c], wrong)
                                                           : read_column(columns_[c], cell, values_[c], wrong);
    if (verdict == ValueVerdict::kDrop) return verdict;
    if (verdict != ValueVerdict::kWrong) continue;
    wrong.insert(0, columns_[c].info.name + ": ");
    return verdict;
  }
  return ValueVerdict::kKeep;
}

ValueVerdict EventValueReader::read_weight(const Cell& cell, std::uint32_t& value, std::string& wrong) const {
  const auto at = weights_.find(cell.text);
  if (at == weights_.end()) {
    wrong = "'interactions.event_weights' has none for the kind '" + std::string(cell.text.substr(0, 40)) + "'";
    return ValueVerdict::kWrong;
  }
  value = std::bit_cast<std::uint32_t>(at->second);
  return ValueVerdict::kKeep;
}

ValueVerdict EventValueReader::read_column(LogColumn& column, const Cell& cell, std::uint32_t& value,
                                           std::string& wrong) {
  if (column.info.kind == "number") {
    float number = 0;
    const auto verdict = read_number(column.options, cell.text, number, wrong);
    value = verdict == ValueVerdict::kKeep ? std::bit_cast<std::uint32_t>(number) : kNoNumber;
    return verdict;
  }
  if (cell.empty()) {
    value = kNoText;
    return missing_value(column.options, wrong);
  }
  if (wrong = wrong_with_id(cell.text); !wrong.empty()) return ValueVerdict::kWrong;
  value = column.texts.number_of(StringTable::key_of(cell.text));
  return ValueVerdict::kKeep;
}

}  // namespace decant::data
