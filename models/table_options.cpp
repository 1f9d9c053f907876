#include "models/table_options.h"

#include <ATen/ops/arange.h>

#include "models/projected_table.h"
#include "models/sharded_table.h"

namespace decant::models {

namespace {

std::string number(std::int64_t value) { return std::to_string(value); }

/// `ids`: of the weight's rows.
void take_first_values(torch::Tensor& weight, const torch::Tensor& ids, const ModelContext& context) {
  const auto teacher = context.teacher_rows(ids);
  if (teacher.sizes() != weight.sizes())
    throw base::ConfigError("'table.first: teacher': the teacher's item vectors are " + number(teacher.size(1)) +
                            " wide, the table's " + number(weight.size(1)) +
                            "; 'table.kind: projected' with 'table.width: 0' takes any width");
  const torch::NoGradGuard no_grad;
  weight.copy_(teacher);
}

}  // namespace

void TableOptions::describe(base::Fields& fields) {
  fields.text("kind", kind,
              "local: rows as wide as the model; projected: wider rows times a learned projection; sharded: as local, "
              "the rows dealt over ranks (docs/large_catalogues.md)",
              {"local", "projected", "sharded"});
  fields.integer("width", width, {0, 65536}, "projected: of the wide rows; 0: as wide as the teacher's");
  fields.text("first", first, "first values of the rows; teacher: its item vectors (the control's are random)",
              {"random", "teacher"});
  fields.text("save", save, "projected: composed saves the product as a table as wide as the model, parts both factors",
              {"composed", "parts"});
  fields.integer("shards", shards, {0, 1 << 20},
                 "sharded: ranks that hold one table together, each group its own copy; 0: all ranks");
}

std::shared_ptr<Table> make_table(const TableOptions& options, std::int64_t dim, const ModelContext& context) {
  const bool from_teacher = options.first == "teacher" && context.teacher_rows;
  const auto all_ids = [&] { return at::arange(context.items, torch::kInt64); };
  if (options.first == "teacher" && context.teacher_width < 0)
    throw base::ConfigError("'table.first: teacher' is for students");
  if (options.kind == "sharded") {
    auto table = std::make_shared<ShardedTable>(context.items, dim, context.seed,
                                                context.exchange ? context.exchange(options.shards) : nullptr);
    const auto& deal = table->deal();
    if (from_teacher) take_first_values(table->weight, deal.ids(at::arange(deal.own(), torch::kInt64)), context);
    return table;
  }
  if (options.kind == "local" || (options.save == "composed" && context.exported)) {
    auto table = std::make_shared<LocalTable>(context.items, dim, context.seed);
    if (from_teacher && options.kind == "local") take_first_values(table->weight, all_ids(), context);
    return table;
  }
  if (options.width == 0 && context.teacher_width < 0)
    throw base::ConfigError("'table.width: 0' is the teacher's width, and this is the teacher");
  // A model that is only looked at (its names, its window) may not know the teacher.
  const std::int64_t width = options.width > 0           ? options.width
                             : context.teacher_width > 0 ? context.teacher_width
                                                         : dim;
  auto table = std::make_shared<ProjectedTable>(context.items, width, dim, context.seed);
  if (from_teacher) take_first_values(table->weight, all_ids(), context);
  return table;
}

}  // namespace decant::models
