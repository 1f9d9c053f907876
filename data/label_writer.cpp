#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <span>
#include <string>
#include <utility>

#include "base/files.h"
#include "data/dataset_layout.h"
#include "data/errors.h"
#include "data/label_layout.h"

namespace decant::data {

namespace {

void check_spec(const LabelSpec& spec, const DatasetInfo& dataset) {
  if (spec.kind != "topk" || spec.logit_dtype != "fp16")
    throw base::ConfigError("labels are of kind topk with logits in fp16, not " + spec.kind + " in " +
                            spec.logit_dtype);
  if (spec.k < 1 || spec.k > dataset.items)
    throw base::ConfigError("labels.k is " + std::to_string(spec.k) + ", the catalogue has " +
                            std::to_string(dataset.items) + " items");
  if (spec.max_length < 1) throw base::ConfigError("labels need a window of at least one event");
  if (spec.temperatures.empty() || *std::min_element(spec.temperatures.begin(), spec.temperatures.end()) <= 0)
    throw base::ConfigError("labels.temperatures must name at least one, all above 0");
  if (spec.rows != dataset.rows || spec.items != dataset.items || spec.catalogue_hash != dataset.catalogue_hash ||
      spec.content_hash != dataset.content_hash)
    throw base::ConfigError("the labels are described for another dataset than " + dataset.folder.string());
}

/// A name that no other rank on any host uses at the same time.
fs::path temporary_name(const fs::path& folder, std::int64_t part) {
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  return folder / ("." + part_name(part) + ".tmp-" + host.data() + "-" + std::to_string(::getpid()));
}

void check_labels(const TopKLabels& labels, const LabelSpec& spec, std::int64_t targets, const fs::path& path) {
  const auto n = static_cast<std::size_t>(targets), k = static_cast<std::size_t>(spec.k);
  if (labels.k != spec.k || labels.temperatures != spec.temperatures)
    throw DataError(path.string(), "the labels have another k or other temperatures than the store");
  if (labels.peak.size() != n)
    throw DataError(path.string(), "there are labels of " + std::to_string(labels.peak.size()) +
                                       " targets, the dataset has " + std::to_string(n));
  if (labels.ids.size() != n * k || labels.logits_half.size() != n * k || labels.target_logit.size() != n ||
      labels.rest_lse.size() != n * spec.temperatures.size() || labels.target_rank.size() != n)
    throw DataError(path.string(), "the labels' columns differ in length");
  for (std::size_t i = 0; i < labels.ids.size(); ++i) {
    if (labels.ids[i] < 0 || labels.ids[i] >= spec.items)
      throw DataError(path.string(), kIds, static_cast<std::int64_t>(i / k),
                      "item " + std::to_string(labels.ids[i]) + " is not in the catalogue");
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (!std::isfinite(labels.peak[i]) || !std::isfinite(labels.target_logit[i]))
      throw DataError(path.string(), kPeak, static_cast<std::int64_t>(i), "the teacher's score is not a finite number");
  }
}

/// The finished file under its temporary name; removed unless it was renamed.
struct Temporary {
  fs::path path;
  ~Temporary() {
    std::error_code error;
    fs::remove(path, error);
  }
};

bool has_key(const fs::path& path, const std::string& key) {
  try {
    return Hdf5File::open(path, 0).text("/", "key") == key;
  } catch (const DataError&) {
    return false;
  }
}

void remove_file(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (error) throw base::FileError(path.string(), "cannot remove it: " + error.message());
}

}  // namespace

LabelWriter::LabelWriter(const fs::path& folder, const Dataset& dataset, LabelSpec spec)
    : folder_(folder), dataset_(dataset), spec_(std::move(spec)) {
  check_spec(spec_, dataset.info());
}

std::int64_t LabelWriter::parts() const {
  const std::int64_t rows = label_part_rows(dataset_);
  return (dataset_.info().rows + rows - 1) / rows;
}

std::pair<std::int64_t, std::int64_t> LabelWriter::part_rows(std::int64_t part) const {
  if (part < 0 || part >= parts())
    throw base::ConfigError("there is no label part " + std::to_string(part) + " of " + std::to_string(parts()));
  const std::int64_t rows = label_part_rows(dataset_);
  return {part * rows, std::min((part + 1) * rows, dataset_.info().rows)};
}

LabelPart LabelWriter::expected(std::int64_t part) const {
  const auto [first, last] = part_rows(part);
  return {first, last - first, targets_between(dataset_, spec_.max_length, first, last)};
}

void LabelWriter::prepare() const {
  const std::vector<std::string> names = refuse_foreign(folder_);
  if (std::find(names.begin(), names.end(), kCatalogueName) != names.end())
    throw base::ConfigError(folder_.string() + " holds a dataset; choose another folder for its labels");
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error) throw base::FileError(folder_.string(), "cannot make the folder: " + error.message());
  // The manifest goes first: without it nobody takes the rest for a whole store.
  if (!finished()) remove_file(folder_ / kManifestName);
  for (const std::string& name : names) {
    if (name == kManifestName) continue;
    if (is_temporary(name) || !has_key(folder_ / name, spec_.key)) remove_file(folder_ / name);
  }
  base::sync_path(folder_);
}

bool LabelWriter::finished() const {
  const fs::path path = folder_ / kManifestName;
  try {
    return LabelSpec::from_json(base::load_document(path, kLabelsFormat, kLabelsVersion), path).key == spec_.key;
  } catch (const base::Error&) {
    return false;
  }
}

bool LabelWriter::has_part(std::int64_t part) const {
  const fs::path path = folder_ / part_name(part);
  const LabelPart wanted = expected(part);
  if (!fs::exists(path)) return false;
  try {
    verify_part(Hdf5File::open(path, 0), spec_, wanted);
    return true;
  } catch (const DataError&) {
    return false;  // it will be written again
  }
}

void LabelWriter::write_part(std::int64_t part, const TopKLabels& labels) const {
  const fs::path target = folder_ / part_name(part);
  const LabelPart wanted = expected(part);
  check_labels(labels, spec_, wanted.targets, target);
  const std::vector<std::uint32_t> ids(labels.ids.begin(), labels.ids.end());
  std::vector<Half> logits(labels.logits_half.size());
  std::transform(labels.logits_half.begin(), labels.logits_half.end(), logits.begin(),
                 [](std::uint16_t bits) { return Half{bits}; });

  const Temporary temporary{temporary_name(folder_, part)};
  Hdf5File file = Hdf5File::create(temporary.path);
  file.set_text("/", "key", spec_.key);
  file.set_number("/", "first_row", static_cast<std::uint64_t>(wanted.first_row));
  file.set_number("/", "rows", static_cast<std::uint64_t>(wanted.rows));
  file.set_number("/", "targets", static_cast<std::uint64_t>(wanted.targets));
  const auto temperatures = static_cast<std::int64_t>(spec_.temperatures.size());
  file.write(kIds, std::span<const std::uint32_t>(ids), spec_.k, kUnitTargets);
  file.write(kLogits, std::span<const Half>(logits), spec_.k, kUnitTargets);
  file.write(kPeak, std::span<const float>(labels.peak), 0, kUnitTargets);
  file.write(kRestLse, std::span<const float>(labels.rest_lse), temperatures, kUnitTargets);
  file.write(kTargetLogit, std::span<const float>(labels.target_logit), 0, kUnitTargets);
  file.write(kTargetRank, std::span<const float>(labels.target_rank), 0, kUnitTargets);
  file.close();
  base::sync_path(temporary.path);
  base::replace_path(temporary.path, target);
}

void LabelWriter::finish() const {
  base::Json list = base::Json::array();
  std::int64_t targets = 0;
  for (std::int64_t part = 0; part < parts(); ++part) {
    const fs::path path = folder_ / part_name(part);
    const LabelPart wanted = expected(part);
    check_part(Hdf5File::open(path, 0), spec_, wanted);
    targets += wanted.targets;
    list.push_back({{"file", part_name(part)},
                    {"first_row", wanted.first_row},
                    {"rows", wanted.rows},
                    {"targets", wanted.targets},
                    {"bytes", fs::file_size(path)}});
  }
  base::Json manifest = spec_.to_json();
  manifest["targets"] = targets;
  manifest["part_rows"] = label_part_rows(dataset_);
  manifest["parts"] = std::move(list);
  base::save_document(folder_ / kManifestName, kLabelsFormat, kLabelsVersion, std::move(manifest));
}

}  // namespace decant::data
