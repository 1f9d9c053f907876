#include "data/attributes.h"

#include <filesystem>
#include <unordered_map>

#include "data/errors.h"
#include "data/id_text.h"
#include "data/line_reader.h"
#include "data/record_reader.h"

namespace decant::data {

namespace {

/// Rows of an id; sessions of one user follow each other.
class RowsById {
 public:
  explicit RowsById(const AttributeRows& rows) {
    for (std::int64_t row = 0; row < rows.ids.size(); ++row) {
      auto id = rows.ids.at(row);
      if (rows.sessions) id = id.substr(0, id.rfind('#'));
      auto& range = rows_.try_emplace(id, row, row).first->second;
      range.second = row + 1;
    }
  }
  /// [first, last); empty for an id that is not there.
  [[nodiscard]] std::pair<std::int64_t, std::int64_t> find(std::string_view id) const {
    const auto at = rows_.find(id);
    return at == rows_.end() ? std::pair<std::int64_t, std::int64_t>{0, 0} : at->second;
  }

 private:
  std::unordered_map<std::string_view, std::pair<std::int64_t, std::int64_t>> rows_;
};

std::vector<WantedColumn> wanted_columns(const AttributeOptions& options) {
  std::vector<WantedColumn> wanted{{"id", options.id, ColumnUse::kText}};
  for (const auto& [name, column] : options.columns)
    wanted.push_back({"columns." + name, column->column.empty() ? name : column->column,
                      column->kind == "number" ? ColumnUse::kNumber : ColumnUse::kText});
  return wanted;
}

/// Joins the records of files to rows.
class Joiner {
 public:
  Joiner(const AttributeOptions& options, const AttributeRows& rows, AttributeCounts& counts)
      : options_(options), rows_(rows), counts_(counts), by_id_(rows) {
    seen_.assign(static_cast<std::size_t>(rows.ids.size()), false);
    for (const auto& [name, column] : options.columns)
      collectors_.emplace_back(rows.table, name, *column, rows.ids.size());
  }

  void read(LineReader& lines, const std::string& path, bool skip_malformed) {
    const auto reader = make_record_reader(options_, wanted_columns(options_), lines, path);
    Record record;
    std::string wrong;
    while (reader->next(record, wrong)) {
      ++counts_.lines;
      if (wrong.empty()) wrong = add(record);
      if (wrong.empty()) continue;
      if (!skip_malformed) throw reader->error(record, wrong + " (--on-error skip passes over such lines)");
      ++counts_.malformed_lines;
    }
  }

  std::vector<TableColumn> finish() {
    for (const bool seen : seen_) counts_.absent += !seen;
    std::vector<TableColumn> out;
    for (auto& collector : collectors_) out.push_back(collector.finish(rows_.training, rows_.ids));
    return out;
  }

 private:
  /// What is wrong with it.
  std::string add(const Record& record) {
    const auto id = record.cells.front().text;
    if (id.empty()) {
      ++counts_.without_id;
      return {};
    }
    if (auto wrong = wrong_with_id(id); !wrong.empty()) return wrong;
    const auto [first, last] = rows_.rename ? by_id_.find(rows_.rename(id)) : by_id_.find(id);
    if (first == last) {
      ++counts_.unknown_ids;
      return {};
    }
    if (seen_[static_cast<std::size_t>(first)]) {
      ++counts_.repeated;
      return {};
    }
    for (auto row = first; row < last; ++row) {
      seen_[static_cast<std::size_t>(row)] = true;
      for (std::size_t c = 0; c < collectors_.size(); ++c)
        if (auto wrong = collectors_[c].set(row, record.cells[1 + c].text); !wrong.empty())
          return rows_.table + "." + (options_.columns.begin() + static_cast<std::ptrdiff_t>(c))->first + ": " + wrong;
    }
    return {};
  }

  const AttributeOptions& options_;
  const AttributeRows& rows_;
  AttributeCounts& counts_;
  RowsById by_id_;
  std::vector<bool> seen_;
  std::vector<ColumnCollector> collectors_;
};

}  // namespace

void AttributeOptions::describe(base::Fields& fields) {
  fields.texts("files", files, "files of attributes, a line or row for each id");
  RecordOptions::describe(fields);
  fields.text("id", id, "column of the id, as the log has it");
  fields.groups("columns", columns, "what becomes of which column; others are not read");
}

void AttributeOptions::check() const {
  if (!on()) {
    if (!columns.empty()) throw base::ConfigError("'" + group + ".columns' are given, and no '" + group + ".files'");
    return;
  }
  check_records();
  if (columns.empty())
    throw base::ConfigError("'" + group + ".files' are given, and no '" + group + ".columns': which are to be kept?");
  const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  for (const auto& [name, column] : columns) {
    const std::string key = group + ".columns." + name;
    if (name.empty() || name.find_first_not_of(allowed) != std::string::npos)
      throw base::ConfigError(
          "'" + key + "': the name may have letters, digits, '_' and '-' only ('column' says what it is in the file)");
    column->check(key);
    if (column->missing == "drop" || column->negative == "drop")
      throw base::ConfigError("'" + key + "': 'drop' is for columns of events: there is no event here to drop");
  }
}

base::Json AttributeCounts::to_json() const {
  return {{"lines", lines},           {"malformed_lines", malformed_lines},
          {"without_id", without_id}, {"unknown_ids", unknown_ids},
          {"repeated", repeated},     {"absent", absent}};
}

std::vector<TableColumn> read_attributes(const AttributeOptions& options, const AttributeRows& rows,
                                         bool skip_malformed, AttributeCounts& counts,
                                         std::vector<std::string>& hashes) {
  Joiner joiner(options, rows, counts);
  for (const auto& name : options.files) {
    LineReader lines((std::filesystem::path(name)));
    joiner.read(lines, name, skip_malformed);
    hashes.push_back(lines.hash());
  }
  return joiner.finish();
}

}  // namespace decant::data
