// How a column of a file becomes one of the dataset.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace decant::data {

struct ColumnOptions : base::Options {
  std::string column;              // in the file; empty: as it is named here
  std::string kind = "category";   // category | number | text
  bool teacher_only = false;       // no student may take it
  std::string separator;           // category: between the values of one row; empty: a row has one
  std::int64_t most_values = 16;   // category: of one row; further ones are left out
  std::int64_t min_count = 1;      // category: values rarer than that in training are one: other
  std::string transform = "none";  // number: none | log: sign(x) log(1 + |x|)
  std::string missing = "fill";    // fill | drop | stop
  std::string negative = "keep";   // number: keep | fill | drop | stop
  void describe(base::Fields& fields) override;
  /// Throws ConfigError, `key` first, for what no single field can know.
  void check(const std::string& key) const;
};

using ColumnMap = base::GroupMap<ColumnOptions>;

}  // namespace decant::data
