#include "data/record_reader.h"

#include "data/id_text.h"
#include "data/record_formats.h"

namespace decant::data {

namespace {

/// What a Parquet file begins with: its magic, and the first field of a page's header or of its footer.
constexpr std::string_view kParquet = "PAR1\x15";

}  // namespace

std::string shown_list(const std::vector<std::string>& names) { return printable(base::join(names)); }

bool is_parquet(const RecordOptions& options, LineReader& lines) {
  return options.lines == "parquet" || lines.peek(kParquet.size()) == kParquet;
}

std::unique_ptr<RecordReader> make_record_reader(const RecordOptions& options, std::vector<WantedColumn> columns,
                                                 LineReader& lines, const std::string& path) {
  if (is_parquet(options, lines)) return make_parquet_reader(options, std::move(columns), lines, path);
  if (options.lines == "json") return make_json_reader(options, std::move(columns), lines, path);
  return make_delimited_reader(options, std::move(columns), lines, path);
}

}  // namespace decant::data
