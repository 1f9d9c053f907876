#include "data/record_options.h"

namespace decant::data {

void RecordOptions::describe(base::Fields& fields) {
  fields.text("lines", lines,
              "what a line is: columns, or a JSON object; or the files are Parquet, which is also told by their first "
              "bytes",
              {"delimited", "json", "parquet"});
  fields.text("separator", separator, "between columns: any text, or tab");
  fields.flag("header", header, "the first line of every file names the columns; else they are numbers from 1");
  fields.flag("quotes", quotes, "a value may stand in double quotes, with separators and line ends in it");
  fields.texts("empty_values", empty_values, "values that mean that there is none, beside the empty one");
}

void RecordOptions::check_records() const {
  if (separator.empty()) throw base::ConfigError("'" + group + ".separator' is empty");
  if (separator.find_first_of("\"\n\r") != std::string::npos)
    throw base::ConfigError("'" + group + ".separator' has a quote or a line end in it");
}

}  // namespace decant::data
