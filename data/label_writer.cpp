#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "base/files.h"
#include "data/dataset_layout.h"
#include "data/errors.h"
#include "data/label_layout.h"

namespace decant::data {

namespace {

constexpr std::int64_t kRowsAtOnce = 65536;  // of a chunk of what is stored a row

void check_spec(const LabelSpec& spec, const DatasetInfo& dataset) {
  if (spec.compression != "none" && spec.compression != "deflate")
    throw base::ConfigError("labels.compress is none or deflate, not " + spec.compression);
  if (spec.max_length < 1) throw base::ConfigError("labels need a window of at least one event");
  if (spec.columns.empty()) throw base::ConfigError("labels of kind " + spec.kind + " have no column");
  for (const LabelColumn& column : spec.columns)
    if (column.width < 1) throw base::ConfigError("the labels' column " + column.name + " has no width");
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

void check_labels(const LabelRows& labels, const LabelSpec& spec, std::int64_t targets, const fs::path& path) {
  if (labels.spec->columns != spec.columns)
    throw DataError(path.string(), "the labels have other columns than the store");
  if (labels.targets != targets)
    throw DataError(path.string(), "there are labels of " + std::to_string(labels.targets) +
                                       " targets, the dataset has " + std::to_string(targets));
  for (std::size_t c = 0; c < spec.columns.size(); ++c)
    if (static_cast<std::int64_t>(labels.columns[c].size()) != targets * spec.columns[c].bytes())
      throw DataError(path.string(), "the labels' columns differ in length");
  if (std::count(labels.present.begin(), labels.present.end(), 0) > 0)
    throw DataError(path.string(), "some targets have no label");
  check_values(labels, path.string());
}

/// The chunks of a column, coded on several threads.
std::vector<std::vector<std::byte>> encode_column(const std::vector<std::byte>& bytes, const LabelColumn& column,
                                                  std::int64_t chunk_targets, const ChunkFilters& filters,
                                                  int threads) {
  const auto chunk = static_cast<std::size_t>(chunk_targets * column.bytes());
  std::vector<std::vector<std::byte>> out((bytes.size() + chunk - 1) / chunk);
  const auto encode = [&](std::size_t first) {
    for (std::size_t i = first; i < out.size(); i += static_cast<std::size_t>(threads)) {
      const std::size_t begin = i * chunk, end = std::min(bytes.size(), begin + chunk);
      std::vector<std::byte> plain(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                                   bytes.begin() + static_cast<std::ptrdiff_t>(end));
      plain.resize(chunk);
      out[i] = encode_chunk(plain, bytes_of(column.element), filters);
    }
  };
  std::vector<std::jthread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(encode, static_cast<std::size_t>(t));
  encode(0);
  return out;
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
    : folder_(folder), dataset_(dataset), spec_(std::make_shared<const LabelSpec>(std::move(spec))) {
  check_spec(*spec_, dataset.info());
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
  return {first, last - first, targets_between(dataset_, spec_->max_length, first, last)};
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
    if (is_temporary(name) || !has_key(folder_ / name, spec_->key)) remove_file(folder_ / name);
  }
  base::sync_path(folder_);
}

bool LabelWriter::finished() const {
  try {
    return read_stored_labels(folder_).spec->key == spec_->key;
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

void LabelWriter::write_part(std::int64_t part, const LabelRows& labels, int threads,
                             const std::function<void(const char*)>& at) const {
  const fs::path target = folder_ / part_name(part);
  const LabelPart wanted = expected(part);
  check_labels(labels, *spec_, wanted.targets, target);
  std::vector<std::uint32_t> row_targets;
  std::vector<std::uint64_t> row_hashes;
  for (std::int64_t row = wanted.first_row; row < wanted.first_row + wanted.rows; ++row) {
    row_targets.push_back(static_cast<std::uint32_t>(dataset_.training_targets(row, spec_->max_length)));
    row_hashes.push_back(label_row_hash(dataset_, row, spec_->max_length));
  }
  const Temporary temporary{temporary_name(folder_, part)};
  Hdf5File file = Hdf5File::create(temporary.path);
  file.set_text("/", "key", spec_->key);
  file.set_number("/", "first_row", static_cast<std::uint64_t>(wanted.first_row));
  file.set_number("/", "rows", static_cast<std::uint64_t>(wanted.rows));
  file.set_number("/", "targets", static_cast<std::uint64_t>(wanted.targets));
  file.make_group("/rows");
  file.write(kRowTargets, std::span<const std::uint32_t>(row_targets), 0, kRowsAtOnce);
  file.write(kRowHash, std::span<const std::uint64_t>(row_hashes), 0, kRowsAtOnce);
  const ChunkFilters filters = label_filters(*spec_);
  for (std::size_t c = 0; c < spec_->columns.size(); ++c) {
    const LabelColumn& column = spec_->columns[c];
    const std::string name = column_path(column);
    const std::int64_t chunk = std::min(unit_targets(*spec_), std::max<std::int64_t>(1, wanted.targets));
    file.make_chunked(name, column.element, {wanted.targets, column.width == 1 ? 0 : column.width}, chunk, filters);
    const auto chunks = encode_column(labels.columns[c], column, chunk, filters, std::max(1, threads));
    for (std::size_t i = 0; i < chunks.size(); ++i) file.write_chunk(name, static_cast<std::int64_t>(i), chunks[i]);
    if (at && c == 0) at("label-write");
  }
  file.close();
  base::sync_path(temporary.path);
  if (at) at("label-commit");
  base::replace_path(temporary.path, target);
}

void LabelWriter::finish() const {
  base::Json list = base::Json::array();
  std::int64_t targets = 0;
  for (std::int64_t part = 0; part < parts(); ++part) {
    const fs::path path = folder_ / part_name(part);
    const LabelPart wanted = expected(part);
    check_part(Hdf5File::open(path, 0), *spec_, wanted);
    targets += wanted.targets;
    list.push_back({{"file", part_name(part)},
                    {"first_row", wanted.first_row},
                    {"rows", wanted.rows},
                    {"targets", wanted.targets},
                    {"bytes", fs::file_size(path)}});
  }
  base::Json manifest = spec_->to_json();
  manifest["targets"] = targets;
  manifest["part_rows"] = label_part_rows(dataset_);
  manifest["parts"] = std::move(list);
  base::save_document(folder_ / kManifestName, kLabelsFormat, kLabelsVersion, std::move(manifest));
}

}  // namespace decant::data
