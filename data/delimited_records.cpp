#include <algorithm>
#include <cctype>
#include <charconv>

#include "data/delimited.h"
#include "data/id_text.h"
#include "data/record_formats.h"

namespace decant::data {

namespace {

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// The name in the header that was probably meant, or "".
std::string similar_name(const std::string& source, const std::vector<std::string>& known) {
  const auto holds = [&](const std::string& name) { return lower(name).find(lower(source)) != std::string::npos; };
  const auto at = std::find_if(known.begin(), known.end(), holds);
  return at != known.end() ? *at : base::nearest(source, known);
}

bool is_number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

/// What may be wrong where the header has no column `source`.
std::string header_hint(const RecordOptions& options, const std::string& source,
                        const std::vector<std::string>& known) {
  const std::string& first = known.front();
  if (first.starts_with('{')) return "; is it JSON? '" + options.group + ".lines: json' reads an object a line";
  if (known.size() == 1) {
    for (const char* other : {"\t", ";", "|", "::", ","}) {
      const std::string name = *other == '\t' ? "tab" : other;
      if (name != options.separator && first.find(other) != std::string::npos)
        return "; is '" + name + "' the separator rather than '" + options.separator + "'?";
    }
    return "; is '" + options.separator + "' the separator?";
  }
  if (const auto similar = similar_name(source, known); !similar.empty())
    return "; did you mean '" + printable(similar) + "'?";
  if (std::any_of(known.begin(), known.end(), is_number))
    return "; is it the first event? '" + options.group + ".header: false' takes columns by number";
  return "";
}

class Delimited final : public RecordReader {
 public:
  Delimited(const RecordOptions& options, std::vector<WantedColumn> columns, LineReader& lines, const std::string& path)
      : RecordReader(path, "line"),
        options_(options),
        wanted_(std::move(columns)),
        cells_(wanted_.size()),
        lines_(lines),
        path_(path),
        empty_(options),
        splitter_(options.separator == "tab" ? "\t" : options.separator, options.quotes) {
    if (!options.header || read_header()) {
      for (const auto& column : wanted_) places_.push_back(column.source.empty() ? kNone : find(column));
      width_ = options.header ? columns_.size() : 0;
    }
    enter_share();
  }

  bool next(Record& record, std::string& wrong) override {
    if (!next_columns(wrong)) return false;
    record = {cells_, first_line_};
    if (!wrong.empty()) return true;
    if (width_ > 0 && columns_.size() != width_) {
      wrong =
          "there are " + std::to_string(columns_.size()) + " columns where the header has " + std::to_string(width_);
      return true;
    }
    for (std::size_t c = 0; c < cells_.size() && wrong.empty(); ++c) {
      cells_[c].text = {};
      if (places_[c] == kNone) continue;
      if (places_[c] >= columns_.size())
        wrong = "there are " + std::to_string(columns_.size()) + " columns, and '" + wanted_[c].name + "' is column " +
                std::to_string(places_[c] + 1);
      else
        cells_[c].text = empty_.of(columns_[places_[c]]);
    }
    return true;
  }

 private:
  /// False when the file has none.
  bool read_header() {
    std::string wrong;
    if (!next_columns(wrong)) return false;
    if (!wrong.empty()) throw DataError(path_, "", first_line_, "the header: " + wrong);
    if (record_.empty() && std::any_of(columns_.begin(), columns_.end(),
                                       [](auto name) { return name.find('\r') != std::string_view::npos; }))
      throw DataError(path_, "", first_line_, "the lines end in CR alone: tr '\\r' '\\n' converts the file");
    return true;
  }

  /// Of the lines that start within a share, the first may lie inside of a quoted value. Records are read from a little before
  /// it, which nearly always comes to where they really start; the rank before knows for sure.
  void enter_share() {
    const FileShare& share = lines_.share();
    if (!options_.quotes || share.exact || share.begin == 0) return lines_.enter_share();
    constexpr std::int64_t kBefore = 2 * static_cast<std::int64_t>(kMaxRecordBytes);
    lines_.visit(std::max<std::int64_t>(share.begin - kBefore, 0), share.begin);
    std::string wrong;
    while (next_columns(wrong)) {
    }
    lines_.begin_share();
  }

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
      while (end == ColumnSplitter::End::kOpenQuote && record_.size() < kMaxRecordBytes &&
             lines_.next_of_record(line)) {
        record_.append("\n").append(line);
        end = splitter_.split(record_, columns_);
      }
    }
    if (end == ColumnSplitter::End::kOpenQuote)
      throw DataError(
          path_, "", first_line_,
          "a quote is not closed within 64 KiB ('" + options_.group + ".quotes: false' takes quotes as they are)");
    if (end == ColumnSplitter::End::kTextAfterQuote)
      wrong = "text follows a closing quote ('" + options_.group + ".quotes: false' takes quotes as they are)";
    return true;
  }

  /// Place of a column, by its name in the header or its number.
  [[nodiscard]] std::size_t find(const WantedColumn& column) const {
    const auto& source = column.source;
    if (options_.header) {
      std::vector<std::string> known;
      for (const auto name : columns_) known.emplace_back(trimmed(name));
      const auto at = std::find(known.begin(), known.end(), source);
      if (at == known.end())
        throw DataError(path_, "", first_line_,
                        "the header has no column '" + source + "' for '" + column.name +
                            "' (it has: " + shown_list(known) + ")" + header_hint(options_, source, known));
      if (std::find(at + 1, known.end(), source) != known.end())
        throw DataError(path_, "", first_line_,
                        "the header has two columns '" + source + "' ('" + options_.group +
                            ".header: false' takes columns by number)");
      return static_cast<std::size_t>(at - known.begin());
    }
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(source.data(), source.data() + source.size(), number);
    if (error != std::errc() || end != source.data() + source.size() || number < 1)
      throw base::ConfigError("'" + options_.group + "." + column.name + "' is '" + source +
                              "': without a header it is the number of a column, from 1");
    return number - 1;
  }

  const RecordOptions& options_;
  const std::vector<WantedColumn> wanted_;
  std::vector<Cell> cells_;
  LineReader& lines_;
  const std::string& path_;
  Emptiness empty_;
  ColumnSplitter splitter_;
  std::vector<std::size_t> places_;
  std::size_t width_ = 0;
  std::int64_t first_line_ = 0;
  std::string record_;
  std::vector<std::string_view> columns_;
};

}  // namespace

std::unique_ptr<RecordReader> make_delimited_reader(const RecordOptions& options, std::vector<WantedColumn> columns,
                                                    LineReader& lines, const std::string& path) {
  return std::make_unique<Delimited>(options, std::move(columns), lines, path);
}

}  // namespace decant::data
