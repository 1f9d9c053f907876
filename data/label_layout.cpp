#include "data/label_layout.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "base/files.h"
#include "data/dataset_layout.h"
#include "data/errors.h"

namespace decant::data {

base::Json LabelSpec::to_json() const {
  return {{"key", key},
          {"kind", kind},
          {"view", view},
          {"teacher_hash", teacher_hash},
          {"catalogue_hash", catalogue_hash},
          {"content_hash", content_hash},
          {"exclusion", exclusion},
          {"window", window},
          {"max_length", max_length},
          {"k", k},
          {"temperatures", temperatures},
          {"logit_dtype", logit_dtype},
          {"computed_in", computed_in},
          {"items", items},
          {"rows", rows}};
}

LabelSpec LabelSpec::from_json(const base::Json& tree, const fs::path& path) {
  LabelSpec spec;
  for (auto [field, value] : {std::pair("key", &spec.key),
                              {"kind", &spec.kind},
                              {"teacher_hash", &spec.teacher_hash},
                              {"catalogue_hash", &spec.catalogue_hash},
                              {"content_hash", &spec.content_hash},
                              {"exclusion", &spec.exclusion},
                              {"window", &spec.window},
                              {"logit_dtype", &spec.logit_dtype},
                              {"computed_in", &spec.computed_in}})
    *value = manifest_text(tree, field, path);
  for (auto [field, value] : {std::pair("view", &spec.view),
                              {"max_length", &spec.max_length},
                              {"k", &spec.k},
                              {"items", &spec.items},
                              {"rows", &spec.rows}})
    *value = manifest_number(tree, field, path);
  const base::Json& temperatures = manifest_field(tree, "temperatures", path);
  for (const base::Json& temperature : temperatures) {
    if (!temperature.is_number()) throw DataError(path.string(), "the field temperatures holds no numbers");
    spec.temperatures.push_back(temperature.get<double>());
  }
  if (spec.kind != "topk" || spec.logit_dtype != "fp16")
    throw DataError(path.string(), "labels of kind '" + spec.kind + "' with logits in " + spec.logit_dtype +
                                       " cannot be read by this program");
  if (spec.k < 1 || spec.max_length < 1 || spec.rows < 1 || spec.items < spec.k || spec.temperatures.empty())
    throw DataError(path.string(), "k, max_length, rows, items or temperatures are out of range");
  return spec;
}

std::int64_t label_part_rows(const Dataset& dataset) {
  // At most 1024 parts; a multiple of 1024 rows each, so that small data still has several for several ranks.
  constexpr std::int64_t kStep = 1024;
  const std::int64_t rows = (dataset.info().rows + kStep - 1) / kStep;
  return (rows + kStep - 1) / kStep * kStep;
}

std::int64_t label_bytes_per_target(const LabelSpec& spec) {
  return 6 * spec.k + 4 * static_cast<std::int64_t>(spec.temperatures.size()) + 12;
}

std::int64_t targets_between(const Dataset& dataset, std::int64_t max_length, std::int64_t first, std::int64_t last) {
  std::int64_t targets = 0;
  for (std::int64_t row = first; row < last; ++row) targets += dataset.training_targets(row, max_length);
  return targets;
}

std::int64_t training_targets(const Dataset& dataset, std::int64_t max_length) {
  return targets_between(dataset, max_length, 0, dataset.info().rows);
}

LabelUnit read_unit(const Hdf5File& file, const LabelSpec& spec, std::int64_t first, std::int64_t count,
                    std::int64_t blame_row) {
  const auto targets = static_cast<std::size_t>(count);
  const auto k = static_cast<std::size_t>(spec.k);
  LabelUnit unit;
  unit.ids.resize(targets * k);
  unit.logits.resize(targets * k);
  unit.rest_lse.resize(targets * spec.temperatures.size());
  for (std::vector<float>* column : {&unit.peak, &unit.target_logit, &unit.target_rank}) column->resize(targets);
  file.read(kIds, first, std::span(unit.ids), blame_row);
  file.read(kLogits, first, std::span(unit.logits), blame_row);
  file.read(kPeak, first, std::span(unit.peak), blame_row);
  file.read(kRestLse, first, std::span(unit.rest_lse), blame_row);
  file.read(kTargetLogit, first, std::span(unit.target_logit), blame_row);
  file.read(kTargetRank, first, std::span(unit.target_rank), blame_row);
  const auto highest = std::max_element(unit.ids.begin(), unit.ids.end());
  if (highest != unit.ids.end() && static_cast<std::int64_t>(*highest) >= spec.items)
    throw DataError(file.path().string(), kIds, blame_row,
                    "item " + std::to_string(*highest) + " is not in the catalogue of " + std::to_string(spec.items));
  return unit;
}

void check_part(const Hdf5File& file, const LabelSpec& spec, const LabelPart& part) {
  const std::string path = file.path().string();
  if (const std::string key = file.text("/", "key"); key != spec.key)
    throw DataError(path, "was written under the key " + key + ", the store's is " + spec.key);
  for (const auto& [name, expected] :
       {std::pair("first_row", part.first_row), {"rows", part.rows}, {"targets", part.targets}}) {
    const std::uint64_t found = file.number("/", name);
    if (found != static_cast<std::uint64_t>(expected))
      throw DataError(
          path, std::string(name) + " is " + std::to_string(found) + " where " + std::to_string(expected) + " belongs");
  }
  const auto temperatures = static_cast<std::int64_t>(spec.temperatures.size());
  const std::array<std::pair<const char*, std::int64_t>, 6> columns{
      {{kIds, spec.k}, {kLogits, spec.k}, {kPeak, 0}, {kRestLse, temperatures}, {kTargetLogit, 0}, {kTargetRank, 0}}};
  for (const auto& [name, width] : columns) {
    if (file.shape(name) != Hdf5File::Shape{part.targets, width})
      throw DataError(path, name, -1,
                      "does not hold " + std::to_string(part.targets) + " targets of " +
                          std::to_string(std::max<std::int64_t>(1, width)) + " values");
  }
}

void verify_part(const Hdf5File& file, const LabelSpec& spec, const LabelPart& part) {
  constexpr std::int64_t kAtOnce = 16 * kUnitTargets;
  check_part(file, spec, part);
  for (std::int64_t first = 0; first < part.targets; first += kAtOnce)
    (void)read_unit(file, spec, first, std::min(kAtOnce, part.targets - first), part.first_row);
}

}  // namespace decant::data
