#include "trainer/columns.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "data/event_values.h"

namespace decant::trainer {
namespace {

torch::Tensor tensor_of(const data::TableColumn& column, std::int64_t rows) {
  if (column.info.kind == "number") {
    auto out = at::empty({rows}, torch::kFloat32);
    std::copy(column.numbers.begin(), column.numbers.end(), out.data_ptr<float>());
    return out;
  }
  auto out = at::empty({rows, column.info.width}, torch::kInt64);
  std::copy(column.codes.begin(), column.codes.end(), out.data_ptr<std::int64_t>());
  return out;
}

bool is_input(const data::ColumnInfo& info) { return info.kind == "category" || info.kind == "number"; }

/// What a job may take: by full name, whether teachers alone may.
using KnownColumns = std::map<std::string, bool>;

/// Why a name that is not among `known` cannot be taken, and what may be wrong with it.
std::string unknown_column(const std::string& name, const std::vector<std::string>& known) {
  const std::string why =
      "is no column of the dataset (it has" + (known.empty() ? " none" : ": " + base::join(known)) + ")";
  if (name == "event.gap") return why + "; 'data.import.interactions.keep_time: true' keeps the times of events";
  if (name == "event.kind") return why + "; 'data.import.interactions.event' names the column of kinds";
  const std::string near = base::nearest(name, known);
  return near.empty() ? why : why + "; did you mean '" + near + "'?";
}

[[noreturn]] void refuse(const std::string& side, const std::string& name, const std::string& why) {
  throw base::ConfigError("'" + side + ".model.columns': '" + name + "' " + why);
}

void check_side(const std::string& side, const SideOptions& options, bool teacher, const KnownColumns& known) {
  std::vector<std::string> names;
  for (const auto& [column, teacher_only] : known) names.push_back(column);
  for (const auto& name : models::columns_of(options.model.options.get())) {
    const auto at = known.find(name);
    if (at == known.end()) refuse(side, name, unknown_column(name, names));
    if (at->second && !teacher) refuse(side, name, "is teacher_only: it is not there when the student serves");
  }
}

void check_sides(const JobOptions& job, const KnownColumns& known) {
  check_side("teacher", job.teacher, true, known);
  for (const auto& [name, side] : job.teachers) check_side("teachers." + name, *side, true, known);
  check_side("student", job.student, false, known);
}

/// Columns that the import will give events.
void add_event_columns(const data::ImportOptions& options, KnownColumns& known) {
  if (options.format != "interactions") return;
  const auto& log = options.interactions;
  for (const auto& column : data::event_columns(log))
    if (is_input(column.info)) known[column.info.full_name()] = column.info.teacher_only();
  if (log.keep_time) known["event." + std::string(data::kGapName)] = false;
}

}  // namespace

std::set<std::string> columns_asked(const JobOptions& job) {
  std::set<std::string> out;
  const auto add = [&](const SideOptions& side) {
    const auto names = models::columns_of(side.model.options.get());
    out.insert(names.begin(), names.end());
  };
  add(job.teacher);
  add(job.student);
  for (const auto& [name, side] : job.teachers) add(*side);
  return out;
}

void check_columns(const JobOptions& job, const std::vector<data::ColumnInfo>& columns) {
  KnownColumns known;
  for (const auto& info : columns)
    if (is_input(info)) known[info.full_name()] = info.teacher_only();
  check_sides(job, known);
}

void check_columns(const JobOptions& job) {
  if (!job.data.dataset.empty()) return;
  KnownColumns known;
  for (const auto& [table, attributes] :
       {std::pair("item.", &job.data.import.items), {"user.", &job.data.import.users}})
    for (const auto& [name, column] : attributes->columns)
      if (column->kind != "text") known[table + name] = column->teacher_only;
  add_event_columns(job.data.import, known);
  check_sides(job, known);
}

models::InputColumnMap input_columns(const data::Dataset& dataset, const std::set<std::string>& asked) {
  models::InputColumnMap out;
  for (const auto& info : dataset.columns()) {
    if (!is_input(info)) continue;
    auto& column = out[info.full_name()];
    column.number = info.kind == "number";
    column.values = info.values;
    column.width = info.width;
    if (info.table == "item" && asked.contains(info.full_name()))
      column.of_items = tensor_of(dataset.column(info.full_name()), dataset.info().items);
  }
  return out;
}

base::Json column_hashes(const base::KindOptions& model, const data::Dataset& dataset) {
  base::Json out;
  const auto taken = models::columns_of(model.options.get());
  for (const auto& info : dataset.columns())
    if (std::find(taken.begin(), taken.end(), info.full_name()) != taken.end()) out[info.full_name()] = info.hash;
  return out;
}

}  // namespace decant::trainer
