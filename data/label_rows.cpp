#include "data/label_rows.h"

#include <cstring>
#include <utility>

#include "data/dataset_layout.h"
#include "data/errors.h"

namespace decant::data {

base::Json LabelSpec::to_json() const {
  base::Json list = base::Json::array();
  for (const LabelColumn& column : columns)
    list.push_back({{"name", column.name}, {"dtype", name_of(column.element)}, {"width", column.width}});
  base::Json tree{{"key", key},
                  {"recipe", recipe},
                  {"kind", kind},
                  {"view", view},
                  {"teacher", teacher},
                  {"teacher_hash", teacher_hash},
                  {"catalogue_hash", catalogue_hash},
                  {"content_hash", content_hash},
                  {"exclusion", exclusion},
                  {"window", window},
                  {"max_length", max_length},
                  {"options", options},
                  {"columns", std::move(list)},
                  {"compression", compression},
                  {"computed_in", computed_in},
                  {"items", items},
                  {"rows", rows}};
  if (!fold_hashes.empty()) tree["folds"] = {{"seed", fold_seed}, {"teacher_hashes", fold_hashes}};
  return tree;
}

namespace {

LabelColumn read_column(const base::Json& entry, const std::filesystem::path& path) {
  LabelColumn column{manifest_text(entry, "name", path), Element::kF32, manifest_number(entry, "width", path)};
  try {
    column.element = element_named(manifest_text(entry, "dtype", path));
  } catch (const base::ConfigError& error) {
    throw DataError(path.string(), "column " + column.name + ": " + error.what());
  }
  if (column.width < 1 || column.name.empty() || column.name.find('/') != std::string::npos || column.name == "rows")
    throw DataError(path.string(),
                    "the column '" + column.name + "' of width " + std::to_string(column.width) + " cannot be one");
  return column;
}

void read_folds(const base::Json& folds, LabelSpec& spec, const std::filesystem::path& path) {
  try {
    folds.at("seed").get_to(spec.fold_seed);
    folds.at("teacher_hashes").get_to(spec.fold_hashes);
  } catch (const base::Json::exception&) {
    throw DataError(path.string(), "'folds' has no number 'seed' or no list 'teacher_hashes'");
  }
}

}  // namespace

LabelSpec LabelSpec::from_json(const base::Json& tree, const std::filesystem::path& path) {
  LabelSpec spec;
  for (auto [field, value] : {std::pair("key", &spec.key),
                              {"recipe", &spec.recipe},
                              {"kind", &spec.kind},
                              {"teacher", &spec.teacher},
                              {"teacher_hash", &spec.teacher_hash},
                              {"catalogue_hash", &spec.catalogue_hash},
                              {"content_hash", &spec.content_hash},
                              {"exclusion", &spec.exclusion},
                              {"window", &spec.window},
                              {"compression", &spec.compression},
                              {"computed_in", &spec.computed_in}})
    *value = manifest_text(tree, field, path);
  for (auto [field, value] :
       {std::pair("view", &spec.view), {"max_length", &spec.max_length}, {"items", &spec.items}, {"rows", &spec.rows}})
    *value = manifest_number(tree, field, path);
  spec.options = manifest_field(tree, "options", path);
  if (tree.contains("folds")) read_folds(tree.at("folds"), spec, path);
  for (const base::Json& entry : manifest_field(tree, "columns", path))
    spec.columns.push_back(read_column(entry, path));
  if (spec.max_length < 1 || spec.rows < 1 || spec.items < 1 || spec.columns.empty() || !spec.options.is_object())
    throw DataError(path.string(), "max_length, rows, items, columns or options are out of range");
  return spec;
}

std::size_t LabelSpec::column(const std::string& name) const {
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (columns[i].name == name) return i;
  throw base::ConfigError("labels of kind " + kind + " have no column '" + name + "'");
}

LabelRows::LabelRows(std::shared_ptr<const LabelSpec> of) : spec(std::move(of)) {
  if (spec) columns.resize(spec->columns.size());
}

void LabelRows::append(const LabelRows& from, std::int64_t first, std::int64_t count) {
  if (!present.empty() || !from.present.empty()) {
    present.resize(static_cast<std::size_t>(targets), 1);
    for (std::int64_t i = first; i < first + count; ++i)
      present.push_back(from.present.empty() ? 1 : from.present[static_cast<std::size_t>(i)]);
  }
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const std::int64_t bytes = spec->columns[c].bytes();
    const auto begin = from.columns[c].begin() + first * bytes;
    columns[c].insert(columns[c].end(), begin, begin + count * bytes);
  }
  targets += count;
}

void LabelRows::append_absent(std::int64_t count) {
  if (count == 0) return;
  present.resize(static_cast<std::size_t>(targets), 1);
  present.resize(static_cast<std::size_t>(targets + count), 0);
  for (std::size_t c = 0; c < columns.size(); ++c)
    columns[c].resize(columns[c].size() + static_cast<std::size_t>(count * spec->columns[c].bytes()),
                      spec->columns[c].name == kIdsColumn ? std::byte{0xff} : std::byte{0});
  targets += count;
}

}  // namespace decant::data
