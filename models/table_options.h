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

/// A model's parameters as they are saved: with a projected table's product under "item.weight" where it is saved composed.
/// REQUIRES: `table` is the model's module "item", made by make_table.
[[nodiscard]] NamedTensors compose_table(NamedTensors weights, Table& table, const TableOptions& options);

/// What a model's spec() says of such a table beside its sizes: "table_width" where its parts are saved.
void describe_table(const Table& table, const TableOptions& options, std::map<std::string, std::string>& spec);

}  // namespace decant::models
