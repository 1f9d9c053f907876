#include "models/input_columns.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/embedding.h>

#include <algorithm>
#include <set>

#include "models/initial.h"

namespace decant::models {

namespace {

constexpr double kDeviation = 0.02;
constexpr std::int64_t kNoCode = 0;

/// Table and column.
std::pair<std::string, std::string> parts_of(const std::string& name) {
  const auto dot = name.find('.');
  if (dot == std::string::npos) return {};
  return {name.substr(0, dot), name.substr(dot + 1)};
}

InputColumn find(const std::string& name, const ModelContext& context) {
  if (context.columns == nullptr) return {.values = 2};
  if (const auto at = context.columns->find(name); at != context.columns->end()) return at->second;
  std::vector<std::string> known;
  for (const auto& [column, facts] : *context.columns) known.push_back(column);
  throw base::ConfigError("the dataset has no column '" + name + "' (" +
                          (known.empty() ? "it has none" : "it has: " + base::join(known)) + ")");
}

bool is_of_items(const std::string& name) { return name.starts_with("item."); }

}  // namespace

void check_column_names(const std::vector<std::string>& names) {
  const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  std::set<std::string> seen;
  for (const auto& name : names) {
    const auto [table, column] = parts_of(name);
    if ((table != "item" && table != "user" && table != "event") || column.empty() ||
        column.find_first_not_of(allowed) != std::string::npos)
      throw base::ConfigError("'columns': '" + name +
                              "' is no name of a column: item.<name>, user.<name> or event.<name>");
    if (!seen.insert(name).second) throw base::ConfigError("'columns': '" + name + "' stands there twice");
  }
}

InputColumns::InputColumns(const std::vector<std::string>& names, std::int64_t dim, const ModelContext& context) {
  check_column_names(names);
  std::map<std::string, std::shared_ptr<torch::nn::Module>> tables;
  for (const auto& name : names) {
    const auto [table, column] = parts_of(name);
    auto& module = tables[table];
    if (!module) module = register_module(table, std::make_shared<torch::nn::Module>(table));
    Entry entry{name, find(name, context), {}, {}};
    const auto shape = entry.column.number ? std::vector<std::int64_t>{dim} : std::vector{entry.column.values, dim};
    auto first = initial_normal(shape, kDeviation, context.seed, "columns." + name);
    if (!entry.column.number) first.select(0, kNoCode).zero_();
    entry.weight = module->register_parameter(column, first);
    if (entry.column.of_items.defined())
      entry.of_items = module->register_buffer(column + "_of_items", entry.column.of_items.clone());
    entry.column.of_items = torch::Tensor();
    entries_.push_back(std::move(entry));
  }
  // Those of items first, folded or not: the sums are then the same to the bit.
  std::stable_partition(entries_.begin(), entries_.end(), [](const Entry& entry) { return is_of_items(entry.name); });
}

torch::Tensor InputColumns::vectors(const Entry& entry, const torch::Tensor& values) {
  if (entry.column.number) return values.unsqueeze(-1) * entry.weight;
  const auto found = at::embedding(entry.weight, values, kNoCode);
  return values.dim() == 1 ? found : found.sum(1);
}

torch::Tensor InputColumns::lookup(Table& items, const Inputs& inputs) const {
  auto sum = folded_.defined() ? folded_.index_select(0, inputs.items()) : items.lookup(inputs.items());
  for (const auto& entry : entries_) {
    if (is_of_items(entry.name)) {
      if (entry.of_items.defined() && !folded_.defined())
        sum = sum + vectors(entry, entry.of_items.index_select(0, inputs.items()));
    } else if (const auto at = inputs.columns.find(entry.name); at != inputs.columns.end()) {
      sum = sum + vectors(entry, at->second);
    }
  }
  return sum;
}

void InputColumns::fold(Table& items) {
  const torch::NoGradGuard no_grad;
  torch::Tensor sum;
  for (const auto& entry : entries_) {
    if (!entry.of_items.defined()) continue;
    if (!sum.defined())
      sum = items.lookup(at::arange(items.items(), entry.of_items.options().dtype(torch::kInt64))).clone();
    sum += vectors(entry, entry.of_items);
  }
  if (sum.defined() && !folded_.defined()) folded_ = register_buffer("item_input", sum);
}

OnnxGraph::Value InputColumns::lookup(OnnxGraph& graph, const OnnxGraph::Value& items, const std::string& table) const {
  auto sum = graph.rows(folded_.defined() ? kItemInput : table, items);
  for (const auto& entry : entries_) {
    if (is_of_items(entry.name)) continue;
    const bool of_user = entry.name.starts_with("user."), several = entry.column.width > 1;
    OnnxGraph::Dims dims{"batch"};
    if (!of_user) dims.emplace_back("length");
    if (several) dims.push_back(std::to_string(entry.column.width));
    const auto type = entry.column.number ? OnnxGraph::Type::kFloat : OnnxGraph::Type::kInt64;
    auto value = graph.input(entry.name, type, dims);
    const std::string weight = "columns." + entry.name;
    if (entry.column.number) {
      value = graph.add("Mul", {graph.add("Unsqueeze", {value, graph.list({-1})}), graph.weight(weight)});
    } else {
      value = graph.rows(weight, value);
      if (several) value = graph.add("ReduceSum", {value, graph.list({-2})}, {{"keepdims", std::int64_t{0}}});
    }
    if (of_user) value = graph.add("Unsqueeze", {value, graph.list({1})});
    sum = graph.add("Add", {sum, value});
  }
  return sum;
}

void ColumnModelOptions::describe_columns(base::Fields& fields) {
  fields.texts("columns", columns,
               "inputs beside the items, by the names that 'decant inspect' shows of the dataset: item.<name>, "
               "user.<name>, event.<name>; a student takes none that is teacher_only");
}

std::vector<std::string> columns_of(const base::Options* model_options) {
  const auto* options = dynamic_cast<const ColumnModelOptions*>(model_options);
  return options == nullptr ? std::vector<std::string>{} : options->columns;
}

std::shared_ptr<InputColumns> make_columns(torch::nn::Module& model, const ColumnModelOptions& options,
                                           std::int64_t dim, const ModelContext& context) {
  if (options.columns.empty()) return nullptr;
  return model.register_module("columns", std::make_shared<InputColumns>(options.columns, dim, context));
}

}  // namespace decant::models
