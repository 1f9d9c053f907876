#include "data/interaction_records.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "data/delimited.h"
#include "data/errors.h"

namespace decant::data {

namespace {

constexpr std::array<const char*, kValues> kNames{"user", "item", "time", "event", "rating", "quantity"};
constexpr std::string_view kBlanks = " \t";

/// The option of each value: a column, or a key.
std::array<std::string, kValues> sources_of(const InteractionOptions& options) {
  return {options.user, options.item, options.time, options.event, options.rating, options.quantity};
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

bool is_blank(std::string_view line) { return line.find_first_not_of(kBlanks) == std::string_view::npos; }

/// Texts that stand for no value become empty.
class Emptiness {
 public:
  explicit Emptiness(const InteractionOptions& options) : texts_(options.empty_values) {}
  [[nodiscard]] std::string_view of(std::string_view text) const {
    text = trimmed(text);
    return std::find(texts_.begin(), texts_.end(), text) == texts_.end() ? text : std::string_view();
  }

 private:
  const std::vector<std::string>& texts_;
};

class Delimited final : public RecordReader {
 public:
  Delimited(const InteractionOptions& options, LineReader& lines, const std::string& path)
      : options_(options),
        lines_(lines),
        path_(path),
        empty_(options),
        splitter_(options.separator == "tab" ? "\t" : options.separator, options.quotes) {
    std::string wrong;
    if (options.header) {
      if (!next_columns(wrong)) return;
      if (!wrong.empty()) throw DataError(path, "", lines.line_number(), "the header: " + wrong);
    }
    const auto sources = sources_of(options);
    for (std::size_t v = 0; v < kValues; ++v) places_[v] = sources[v].empty() ? kNone : find(kNames[v], sources[v]);
    width_ = options.header ? columns_.size() : 0;
  }

  bool next(Record& record, std::string& wrong) override {
    if (!next_columns(wrong)) return false;
    record.line = first_line_;
    if (!wrong.empty()) return true;
    if (width_ > 0 && columns_.size() != width_) {
      wrong =
          "there are " + std::to_string(columns_.size()) + " columns where the header has " + std::to_string(width_);
      return true;
    }
    for (std::size_t v = 0; v < kValues && wrong.empty(); ++v) {
      record.values[v] = {};
      if (places_[v] == kNone) continue;
      if (places_[v] >= columns_.size())
        wrong = "there are " + std::to_string(columns_.size()) + " columns, and '" + kNames[v] + "' is column " +
                std::to_string(places_[v] + 1);
      else
        record.values[v] = empty_.of(columns_[places_[v]]);
    }
    return true;
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  static constexpr std::size_t kMaxRecordBytes = std::size_t{1} << 16;

  /// The columns of the next record that is not blank; false at the end. A quote that is not closed ends the import: how
  /// many records it has swallowed is not known.
  bool next_columns(std::string& wrong) {
    wrong.clear();
    std::string_view line;
    do {
      if (!lines_.next(line)) return false;
    } while (is_blank(line));
    first_line_ = lines_.line_number();
    auto end = splitter_.split(line, columns_);
    if (end == ColumnSplitter::End::kOpenQuote) {
      record_.assign(line);
      while (end == ColumnSplitter::End::kOpenQuote && record_.size() < kMaxRecordBytes && lines_.next(line)) {
        record_.append("\n").append(line);
        end = splitter_.split(record_, columns_);
      }
    }
    if (end == ColumnSplitter::End::kOpenQuote)
      throw DataError(path_, "", first_line_,
                      "a quote is not closed within 64 KiB ('interactions.quotes: false' takes quotes as they are)");
    if (end == ColumnSplitter::End::kTextAfterQuote)
      wrong = "text follows a closing quote ('interactions.quotes: false' takes quotes as they are)";
    return true;
  }

  /// Place of a column, by its name in the header or its number.
  [[nodiscard]] std::size_t find(const char* name, const std::string& source) const {
    if (options_.header) {
      std::vector<std::string> known;
      for (const auto column : columns_) known.emplace_back(trimmed(column));
      const auto at = std::find(known.begin(), known.end(), source);
      if (at != known.end()) return static_cast<std::size_t>(at - known.begin());
      constexpr std::size_t kMost = 300;
      auto list = base::join(known);
      if (list.size() > kMost) list = list.substr(0, kMost) + " ...";
      throw DataError(path_, "", lines_.line_number(),
                      "the header has no column '" + source + "' for '" + name + "' (it has: " + list + "); is '" +
                          options_.separator + "' the separator?");
    }
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(source.data(), source.data() + source.size(), number);
    if (error != std::errc() || end != source.data() + source.size() || number < 1)
      throw base::ConfigError("'interactions." + std::string(name) + "' is '" + source +
                              "': without a header it is the number of a column, from 1");
    return number - 1;
  }

  const InteractionOptions& options_;
  LineReader& lines_;
  const std::string& path_;
  Emptiness empty_;
  ColumnSplitter splitter_;
  std::array<std::size_t, kValues> places_{};
  std::size_t width_ = 0;
  std::int64_t first_line_ = 0;
  std::string record_;
  std::vector<std::string_view> columns_;
};

class JsonLines final : public RecordReader {
 public:
  JsonLines(const InteractionOptions& options, LineReader& lines)
      : sources_(sources_of(options)), lines_(lines), empty_(options) {}

  bool next(Record& record, std::string& wrong) override {
    wrong.clear();
    std::string_view line;
    do {
      if (!lines_.next(line)) return false;
    } while (is_blank(line));
    record.line = lines_.line_number();
    const auto tree = nlohmann::json::parse(line, nullptr, false);
    if (tree.is_discarded() || !tree.is_object()) {
      wrong = "is no JSON object";
      return true;
    }
    for (std::size_t v = 0; v < kValues && wrong.empty(); ++v) {
      texts_[v].clear();
      if (const auto* value = find(tree, sources_[v])) wrong = read(*value, v);
      record.values[v] = empty_.of(texts_[v]);
    }
    return true;
  }

 private:
  static const nlohmann::json* find(const nlohmann::json& tree, const std::string& source) {
    if (source.empty()) return nullptr;
    if (source.front() != '/') {
      const auto at = tree.find(source);
      return at == tree.end() ? nullptr : &*at;
    }
    try {
      const nlohmann::json::json_pointer pointer(source);
      return tree.contains(pointer) ? &tree.at(pointer) : nullptr;
    } catch (const nlohmann::json::exception&) {
      throw base::ConfigError("'" + source + "' in 'interactions' is no JSON pointer");
    }
  }

  std::string read(const nlohmann::json& value, std::size_t v) {
    if (value.is_null()) return "";
    if (value.is_structured()) return "'" + sources_[v] + "' is no text and no number";
    texts_[v] = value.is_string() ? value.get<std::string>() : value.dump();
    return "";
  }

  std::array<std::string, kValues> sources_, texts_;
  LineReader& lines_;
  Emptiness empty_;
};

}  // namespace

const char* name_of(Value value) { return kNames[static_cast<std::size_t>(value)]; }

std::unique_ptr<RecordReader> make_record_reader(const InteractionOptions& options, LineReader& lines,
                                                 const std::string& path) {
  if (options.lines == "json") return std::make_unique<JsonLines>(options, lines);
  return std::make_unique<Delimited>(options, lines, path);
}

}  // namespace decant::data
