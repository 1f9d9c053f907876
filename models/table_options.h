// What a job file says of a model's item table.
#pragma once

#include <memory>
#include <string>

#include "base/options.h"
#include "models/model.h"
#include "models/table.h"

namespace decant::models {

struct TableOptions : base::Options {
  std::string kind = "local";     // local | projected | sharded
  std::int64_t width = 0;         // projected: of the wide rows; 0: the teacher's
  std::string first = "random";   // random | teacher: where first values come from
  std::string save = "composed";  // projected: composed | parts
  std::int64_t shards = 0;        // sharded: ranks that hold one table together; 0: all
  void describe(base::Fields& fields) override;
};

/// A table of `dim` columns. Throws ConfigError for widths that do not fit the teacher's.
[[nodiscard]] std::shared_ptr<Table> make_table(const TableOptions& options, std::int64_t dim,
                                                const ModelContext& context);

}  // namespace decant::models
