#include "data/label_layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "data/dataset_layout.h"
#include "data/errors.h"

namespace decant::data {

std::string column_path(const LabelColumn& column) { return "/" + column.name; }

std::int64_t label_part_rows(const Dataset& dataset) {
  // At most 1024 parts; a multiple of 1024 rows each, so that small data still has several for several ranks.
  constexpr std::int64_t kStep = 1024;
  const std::int64_t rows = (dataset.info().rows + kStep - 1) / kStep;
  return (rows + kStep - 1) / kStep * kStep;
}

std::int64_t label_bytes_per_target(const LabelSpec& spec) {
  std::int64_t bytes = 0;
  for (const LabelColumn& column : spec.columns) bytes += column.bytes();
  return bytes;
}

std::int64_t unit_targets(const LabelSpec& spec) {
  constexpr std::int64_t kMost = 256, kBytes = 1 << 20;
  std::int64_t targets = kMost;
  while (targets > 1 && targets * label_bytes_per_target(spec) > kBytes) targets /= 2;
  return targets;
}

ChunkFilters label_filters(const LabelSpec& spec) {
  if (spec.compression == "none") return {ChunkFilter::kFletcher32};
  return {ChunkFilter::kShuffle, ChunkFilter::kDeflate, ChunkFilter::kFletcher32};
}

std::int64_t targets_between(const Dataset& dataset, std::int64_t max_length, std::int64_t first, std::int64_t last) {
  std::int64_t targets = 0;
  for (std::int64_t row = first; row < last; ++row) targets += dataset.training_targets(row, max_length);
  return targets;
}

std::int64_t training_targets(const Dataset& dataset, std::int64_t max_length) {
  return targets_between(dataset, max_length, 0, dataset.info().rows);
}

std::uint64_t label_row_hash(const Dataset& dataset, std::int64_t row, std::int64_t max_length) {
  const std::int64_t targets = dataset.training_targets(row, max_length);
  base::Hasher hasher;
  if (targets > 0) {
    const std::vector<std::int64_t> events = dataset.training_events(row);
    const std::vector<std::uint32_t> window(events.end() - (targets + 1), events.end());
    hasher.add(std::as_bytes(std::span(window)));
  }
  return hasher.value();
}

StoredLabels read_stored_labels(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  std::error_code error;
  if (!fs::exists(path, error))
    throw DataError(folder.string(), "the labels are missing or not finished (no manifest.json); run `decant label`");
  const base::Json manifest = base::load_document(path, kLabelsFormat, kLabelsVersion);
  if (manifest.at("version") == 1)
    throw DataError(path.string(),
                    "is a label store of version 1, which this program does not read: run `decant label` again");
  StoredLabels store;
  store.spec = std::make_shared<const LabelSpec>(LabelSpec::from_json(manifest, path));
  store.part_rows = manifest_number(manifest, "part_rows", path);
  store.targets = manifest_number(manifest, "targets", path);
  if (store.part_rows < 1) throw DataError(path.string(), "part_rows must be at least 1");
  std::int64_t rows = 0, targets = 0;
  for (const base::Json& entry : manifest_field(manifest, "parts", path)) {
    StoredPart part{folder / manifest_text(entry, "file", path),
                    {manifest_number(entry, "first_row", path), manifest_number(entry, "rows", path),
                     manifest_number(entry, "targets", path)}};
    if (part.range.first_row != rows || part.range.rows != std::min(store.part_rows, store.spec->rows - rows) ||
        part.range.rows < 1)
      throw DataError(path.string(), "the row ranges of the parts do not follow each other");
    const std::int64_t bytes = manifest_number(entry, "bytes", path);
    check_size(part.path, bytes);
    store.bytes += bytes;
    rows += part.range.rows;
    targets += part.range.targets;
    store.parts.push_back(std::move(part));
  }
  if (rows != store.spec->rows || targets != store.targets)
    throw DataError(path.string(), "the parts do not add up to the store's rows and targets");
  return store;
}

namespace {

std::vector<std::byte> read_column(const Hdf5File& file, const LabelColumn& column, std::int64_t first,
                                   std::int64_t count, std::int64_t unit, std::int64_t blame_row) {
  const std::string name = column_path(column);
  file.check_element(name, column.element);
  const Hdf5File::Layout layout = file.layout(name);
  const auto bytes = static_cast<std::size_t>(count * column.bytes());
  if (!layout.whole_rows || layout.chunk_rows != std::min(unit, layout.shape.rows) || first % unit != 0 ||
      count > layout.chunk_rows) {
    std::vector<std::byte> out(bytes);
    file.read_bytes(name, column.element, first, out, blame_row);
    return out;
  }
  Hdf5File::RawChunk raw = file.read_chunk(name, first / unit, blame_row);
  DecodedChunk decoded = decode_chunk(std::move(raw.bytes), bytes_of(column.element), layout.filters, raw.skipped,
                                      static_cast<std::size_t>(layout.chunk_rows * column.bytes()));
  if (!decoded.error.empty())
    throw DataError(file.path().string(), name, blame_row, "cannot be read: " + decoded.error + ": damaged");
  decoded.plain.resize(bytes);
  return std::move(decoded.plain);
}

void check_ids(std::span<const std::uint32_t> ids, std::int64_t width, std::int64_t items, const std::string& path,
               std::int64_t blame_row) {
  for (std::size_t i = 0; i < ids.size(); ++i)
    if (ids[i] != kNoItem && static_cast<std::int64_t>(ids[i]) >= items)
      throw DataError(path, "/ids", blame_row >= 0 ? blame_row : static_cast<std::int64_t>(i) / width,
                      "item " + std::to_string(ids[i]) + " is not in the catalogue of " + std::to_string(items));
}

/// Bit patterns of a NaN: an exponent of ones and a mantissa that is not zero.
template <class Bits>
std::ptrdiff_t first_nan(const std::vector<std::byte>& bytes, Bits infinity) {
  const std::span values(reinterpret_cast<const Bits*>(bytes.data()), bytes.size() / sizeof(Bits));
  constexpr auto kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  const auto at = std::find_if(values.begin(), values.end(),
                               [&](Bits value) { return static_cast<Bits>(value & ~kSign) > infinity; });
  return at == values.end() ? -1 : at - values.begin();
}

std::ptrdiff_t first_nan(const LabelColumn& column, const std::vector<std::byte>& bytes) {
  switch (column.element) {
    case Element::kF16:
      return first_nan<std::uint16_t>(bytes, 0x7c00);
    case Element::kBf16:
      return first_nan<std::uint16_t>(bytes, 0x7f80);
    case Element::kF32:
      return first_nan<std::uint32_t>(bytes, 0x7f800000u);
    default:
      return -1;
  }
}

}  // namespace

void check_values(const LabelRows& labels, const std::string& path, std::int64_t blame_row) {
  for (std::size_t c = 0; c < labels.columns.size(); ++c) {
    const LabelColumn& column = labels.spec->columns[c];
    if (column.name == kIdsColumn)
      check_ids(labels.values<std::uint32_t>(column.name), column.width, labels.spec->items, path, blame_row);
    const std::ptrdiff_t at = first_nan(column, labels.columns[c]);
    if (at >= 0)
      throw DataError(path, column_path(column), blame_row >= 0 ? blame_row : at / column.width,
                      "a value is not a number");
  }
}

LabelRows read_unit(const Hdf5File& file, const std::shared_ptr<const LabelSpec>& spec, std::int64_t first,
                    std::int64_t count, std::int64_t blame_row) {
  LabelRows rows(spec);
  const std::int64_t unit = unit_targets(*spec);
  for (std::size_t c = 0; c < spec->columns.size(); ++c)
    rows.columns[c] = read_column(file, spec->columns[c], first, count, unit, blame_row);
  rows.targets = count;
  for (const LabelColumn& column : spec->columns)
    if (column.name == kIdsColumn)
      check_ids(rows.values<std::uint32_t>(column.name), column.width, spec->items, file.path().string(), blame_row);
  return rows;
}

std::vector<std::uint32_t> read_row_offsets(const Hdf5File& file, const LabelPart& part) {
  std::vector<std::uint32_t> offsets(static_cast<std::size_t>(part.rows + 1));
  file.read(kRowTargets, 0, std::span(offsets).subspan(1), part.first_row);
  std::uint64_t sum = 0;
  for (std::size_t i = 1; i < offsets.size(); ++i) {
    sum += offsets[i];
    offsets[i] = static_cast<std::uint32_t>(sum);
  }
  if (sum != static_cast<std::uint64_t>(part.targets))
    throw DataError(file.path().string(), kRowTargets, -1,
                    "adds up to " + std::to_string(sum) + " targets, the part has " + std::to_string(part.targets));
  return offsets;
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
  for (const LabelColumn& column : spec.columns) {
    const Hdf5File::Shape shape = file.shape(column_path(column));
    if (shape.rows != part.targets || (shape.columns != column.width && (shape.columns != 0 || column.width != 1)))
      throw DataError(
          path, column_path(column), -1,
          "does not hold " + std::to_string(part.targets) + " targets of " + std::to_string(column.width) + " values");
  }
  if (file.shape(kRowTargets).rows != part.rows)
    throw DataError(path, kRowTargets, -1, "does not hold " + std::to_string(part.rows) + " rows");
}

void verify_part(const Hdf5File& file, const std::shared_ptr<const LabelSpec>& spec, const LabelPart& part) {
  check_part(file, *spec, part);
  (void)read_row_offsets(file, part);
  if (file.has(kRowHash)) {
    std::vector<std::uint64_t> hashes(static_cast<std::size_t>(part.rows));
    file.read(kRowHash, 0, std::span(hashes), part.first_row);
  }
  const std::int64_t unit = unit_targets(*spec);
  for (std::int64_t first = 0; first < part.targets; first += unit)
    check_values(read_unit(file, spec, first, std::min(unit, part.targets - first), part.first_row),
                 file.path().string(), part.first_row);
}

}  // namespace decant::data
