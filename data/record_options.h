// How the records of a file are written: lines of columns, JSON lines, or Parquet.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/options.h"

namespace decant::data {

/// Options that every kind of file of records has; a group of a job file derives from it and adds its own.
struct RecordOptions : base::Options {
  /// `group`: the name of the group in messages.
  explicit RecordOptions(std::string group) : group(std::move(group)) {}
  std::string group;
  std::string lines =
      "delimited";              // delimited | json: an object a line | parquet (also told by the file's first bytes)
  std::string separator = ",";  // of columns; "tab"
  bool header = true;           // the first line of a file names its columns; else they are numbers from 1
  bool quotes = true;
  std::vector<std::string> empty_values{"NA", "NULL"};  // beside ""
  void describe(base::Fields& fields) override;
  /// Throws ConfigError for what no single field can know.
  void check_records() const;
};

}  // namespace decant::data
