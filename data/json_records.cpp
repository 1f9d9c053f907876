#include "data/record_formats.h"

namespace decant::data {

namespace {

class JsonLines final : public RecordReader {
 public:
  JsonLines(const RecordOptions& options, std::vector<WantedColumn> columns, LineReader& lines, const std::string& path)
      : RecordReader(path, "line"),
        group_(options.group),
        wanted_(std::move(columns)),
        texts_(wanted_.size()),
        cells_(wanted_.size()),
        lines_(lines),
        empty_(options) {
    lines_.enter_share();
  }

  bool next(Record& record, std::string& wrong) override {
    wrong.clear();
    std::string_view line;
    do {
      if (!lines_.next(line)) return false;
    } while (is_blank(line));
    record = {cells_, lines_.line_number()};
    const auto tree = nlohmann::json::parse(line, nullptr, false);
    if (tree.is_discarded()) wrong = "is no JSON: the fault is at byte " + std::to_string(fault_in(line));
    if (wrong.empty() && !tree.is_object()) wrong = "is no JSON object";
    if (!wrong.empty()) return true;
    for (std::size_t c = 0; c < cells_.size() && wrong.empty(); ++c) {
      texts_[c].clear();
      if (const auto* value = find(tree, wanted_[c])) wrong = read(*value, c);
      cells_[c].text = empty_.of(texts_[c]);
    }
    return true;
  }

 private:
  /// Place of what is wrong in a text that is no JSON, from 1.
  static std::size_t fault_in(std::string_view line) {
    try {
      [[maybe_unused]] const auto tree = nlohmann::json::parse(line);
    } catch (const nlohmann::json::parse_error& error) {
      return error.byte;
    } catch (const nlohmann::json::exception&) {  // a number out of range
    }
    return 1;
  }

  [[nodiscard]] const nlohmann::json* find(const nlohmann::json& tree, const WantedColumn& column) const {
    if (column.source.empty()) return nullptr;
    if (column.source.front() != '/') {
      const auto at = tree.find(column.source);
      return at == tree.end() ? nullptr : &*at;
    }
    try {
      const nlohmann::json::json_pointer pointer(column.source);
      return tree.contains(pointer) ? &tree.at(pointer) : nullptr;
    } catch (const nlohmann::json::exception&) {
      throw base::ConfigError("'" + group_ + "." + column.name + "' is '" + column.source +
                              "', which is no JSON pointer");
    }
  }

  std::string read(const nlohmann::json& value, std::size_t c) {
    return json_text(value, texts_[c]) ? "" : "'" + wanted_[c].source + "' is no text and no number";
  }

  std::string group_;
  const std::vector<WantedColumn> wanted_;
  std::vector<std::string> texts_;
  std::vector<Cell> cells_;
  LineReader& lines_;
  Emptiness empty_;
};

}  // namespace

std::unique_ptr<RecordReader> make_json_reader(const RecordOptions& options, std::vector<WantedColumn> columns,
                                               LineReader& lines, const std::string& path) {
  return std::make_unique<JsonLines>(options, std::move(columns), lines, path);
}

}  // namespace decant::data
