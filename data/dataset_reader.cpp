#include "data/dataset_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/files.h"
#include "data/column_store.h"
#include "data/errors.h"

namespace decant::data {

namespace {

constexpr char kItemOffsets[] = "/sequences/items/offsets";
constexpr char kItemValues[] = "/sequences/items/values";
constexpr char kUserOffsets[] = "/sequences/user/offsets";
constexpr char kUserValues[] = "/sequences/user/values";
constexpr char kNameOffsets[] = "/items/id/offsets";
constexpr char kNameValues[] = "/items/id/values";
constexpr char kCounts[] = "/items/count";
constexpr char kTrainingSplit[] = "/sequences/split/train";
constexpr char kValidSplit[] = "/sequences/split/valid";
constexpr char kTestSplit[] = "/sequences/split/test";

/// Part files kept open: a dataset of a thousand parts must not need a thousand descriptors.
constexpr std::size_t kOpenFiles = 64;

/// Items from 0 on, each in [0, items): anything else is a program's error that wrote the file.
void check_items(const DatasetPart& part, const EventBlock& block, std::int64_t items, std::int64_t first_row) {
  for (std::size_t r = 0; r + 1 < block.offsets.size(); ++r) {
    for (const std::uint32_t item : block.row(r)) {
      if (static_cast<std::int64_t>(item) >= items)
        throw DataError(part.path.string(), kItemValues, first_row + static_cast<std::int64_t>(r),
                        "item " + std::to_string(item) + " is not in the catalogue of " + std::to_string(items));
    }
  }
}

std::vector<DatasetPart> read_parts(const base::Json& manifest, const fs::path& path, std::int64_t rows) {
  const std::int64_t part_rows = manifest_number(manifest, "part_rows", path);
  if (part_rows < 1 || part_rows % kBlockRows != 0)
    throw DataError(path.string(), "part_rows must be a multiple of " + std::to_string(kBlockRows));
  std::vector<DatasetPart> parts;
  std::int64_t next = 0;
  for (const base::Json& entry : manifest_field(manifest, "parts", path)) {
    DatasetPart part{path.parent_path() / manifest_text(entry, "file", path), manifest_number(entry, "first_row", path),
                     manifest_number(entry, "rows", path), manifest_number(entry, "events", path),
                     manifest_number(entry, "bytes", path)};
    if (part.first_row != next || part.rows != std::min(part_rows, rows - next) || part.rows < 1 || part.events < 0)
      throw DataError(path.string(), "the row ranges of the parts do not follow each other");
    check_size(part.path, part.bytes);
    next += part.rows;
    parts.push_back(std::move(part));
  }
  if (next != rows)
    throw DataError(path.string(), "the parts hold " + std::to_string(next) + " rows of " + std::to_string(rows));
  return parts;
}

void check_rows(const Hdf5File& file, const std::string& name, std::int64_t rows) {
  const Hdf5File::Shape shape = file.shape(name);
  if (shape != Hdf5File::Shape{rows, 0})
    throw DataError(file.path().string(), name, -1,
                    "holds " + std::to_string(shape.rows) + " entries where " + std::to_string(rows) + " belong");
}

std::string values_of(const ColumnInfo& column) { return "/events/" + column.name + "/values"; }

/// Codes that the column has, and numbers that are finite.
void check_values(const DatasetPart& part, const ColumnInfo& column, const ValueBlock& block, std::int64_t first_row) {
  const auto refuse = [&](const std::string& what) {
    throw DataError(part.path.string(), values_of(column), first_row, "its block of rows has " + what);
  };
  for (const std::uint32_t code : block.codes)
    if (static_cast<std::int64_t>(code) >= column.values)
      refuse("code " + std::to_string(code) + " of " + std::to_string(column.values));
  for (const float number : block.numbers)
    if (!std::isfinite(number)) refuse("a number that is not finite");
}

/// Reads a ragged column's offsets and checks that they rise from 0 to `values`.
std::vector<std::uint64_t> read_offsets(const Hdf5File& file, const char* name, std::int64_t rows, std::int64_t values,
                                        std::int64_t first_row) {
  check_rows(file, name, rows + 1);
  std::vector<std::uint64_t> offsets(static_cast<std::size_t>(rows) + 1);
  file.read(name, 0, std::span(offsets), first_row);
  for (std::size_t r = 0; r + 1 < offsets.size(); ++r) {
    if (offsets[r + 1] < offsets[r] || offsets[r + 1] - offsets[r] > std::numeric_limits<std::uint32_t>::max())
      throw DataError(file.path().string(), name, first_row + static_cast<std::int64_t>(r), "offsets must rise");
  }
  if (offsets.front() != 0 || offsets.back() != static_cast<std::uint64_t>(values))
    throw DataError(file.path().string(), name, -1, "offsets must run from 0 to " + std::to_string(values));
  return offsets;
}

TextColumn read_texts(const Hdf5File& file, const char* values, const char* offsets, std::int64_t rows,
                      std::int64_t first_row) {
  TextColumn texts;
  texts.offsets = read_offsets(file, offsets, rows, file.shape(values).rows, first_row);
  texts.values.resize(texts.offsets.back());
  file.read(values, 0, std::span(texts.values), first_row);
  return texts;
}

/// By the average row, so that it is a function of the dataset and of the option only: every rank and every resumed
/// run must find the same number, since the order depends on it.
std::int64_t rows_that_fit(const DatasetInfo& info, std::size_t cache_bytes) {
  const double row_bytes = 4.0 * (static_cast<double>(info.events) / static_cast<double>(info.rows) + 1.0);
  const double fit = static_cast<double>(cache_bytes) / row_bytes;
  if (fit >= static_cast<double>(info.rows)) return info.rows;
  const std::int64_t whole_blocks = static_cast<std::int64_t>(fit) / kBlockRows * kBlockRows;
  return std::min(info.rows, std::max(whole_blocks, kBlockRows));
}

}  // namespace

DatasetReader::DatasetReader(const fs::path& folder, std::size_t cache_bytes)
    : files_(kOpenFiles), blocks_(cache_bytes), value_blocks_(cache_bytes) {
  read_manifest(folder);
  read_lengths();
  cached_rows_ = rows_that_fit(info_, cache_bytes);
}

void DatasetReader::read_manifest(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  const base::Json manifest = base::load_document(path, kDatasetFormat, kDatasetVersion);
  info_.folder = folder;
  info_.rows = manifest_number(manifest, "rows", path);
  info_.items = manifest_number(manifest, "items", path);
  info_.events = manifest_number(manifest, "events", path);
  info_.split = manifest_text(manifest, "split", path);
  info_.catalogue_hash = manifest_text(manifest, "catalogue_hash", path);
  info_.content_hash = manifest_text(manifest, "content_hash", path);
  if (const auto import = manifest.find("import"); import != manifest.end() && import->is_object()) {
    const auto key = import->find("key");
    if (key != import->end() && key->is_string()) info_.import_key = *key;
  }
  version_ = static_cast<int>(manifest_number(manifest, "version", path));
  const bool known =
      info_.split == kLeaveLastOut || (version_ > 1 && (info_.split == kTemporal || info_.split == kGiven));
  if (!known) throw DataError(path.string(), "the split rule '" + info_.split + "' is not known");
  if (info_.rows < 1 || info_.items < 1 || info_.items > std::numeric_limits<std::uint32_t>::max())
    throw DataError(path.string(), "the dataset has no rows or no items");
  part_rows_ = manifest_number(manifest, "part_rows", path);
  parts_ = read_parts(manifest, path, info_.rows);
  read_catalogue(manifest, path);
  read_columns(manifest, path);
}

void DatasetReader::read_columns(const base::Json& manifest, const fs::path& manifest_path) {
  if (!manifest.contains("columns")) return;
  for (const auto& entry : manifest.at("columns")) columns_.push_back(ColumnInfo::from_json(entry, manifest_path));
  if (const auto time = find_column("event.time")) {
    const auto& from = columns_[*time];
    ColumnInfo gap{.table = "event", .name = kGapName, .kind = "category", .values = kGapValues, .hash = from.hash};
    gap.missing = info_.rows;
    columns_.push_back(std::move(gap));
  }
  if (!manifest.contains("columns_file")) return;  // of events alone: they lie in the parts
  const auto& entry = manifest.at("columns_file");
  columns_path_ = info_.folder / manifest_text(entry, "file", manifest_path);
  check_size(columns_path_, manifest_number(entry, "bytes", manifest_path));
}

TableColumn DatasetReader::column(const std::string& full_name) const {
  std::vector<std::string> known;
  for (const auto& info : columns_) {
    if (info.table == "event") continue;
    if (info.full_name() == full_name)
      return read_column(columns_path_, info, info.table == "item" ? info_.items : info_.rows);
    known.push_back(info.full_name());
  }
  throw base::ConfigError("the dataset " + info_.folder.string() + " has no column '" + full_name +
                          "' of items or users (it has: " + base::join(known) + ")");
}

void DatasetReader::read_catalogue(const base::Json& manifest, const fs::path& manifest_path) {
  const base::Json& entry = manifest_field(manifest, "catalogue", manifest_path);
  catalogue_path_ = info_.folder / manifest_text(entry, "file", manifest_path);
  check_size(catalogue_path_, manifest_number(entry, "bytes", manifest_path));
  const Hdf5File file = Hdf5File::open(catalogue_path_);
  if (file.shape(kCounts) != Hdf5File::Shape{info_.items, 0})
    throw DataError(catalogue_path_.string(), kCounts, -1, "does not hold " + std::to_string(info_.items) + " items");
  std::vector<std::uint32_t> stored(static_cast<std::size_t>(info_.items));
  file.read(kCounts, 0, std::span(stored));
  counts_.assign(stored.begin(), stored.end());
}

void DatasetReader::read_lengths() {
  std::int64_t events_in_all = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const DatasetPart& part = parts_[p];
    const std::shared_ptr<const Hdf5File> opened = file(p);
    if (opened->number("/sequences", "first_row") != static_cast<std::uint64_t>(part.first_row) ||
        opened->number("/sequences", "rows") != static_cast<std::uint64_t>(part.rows))
      throw DataError(part.path.string(), "/sequences", -1, "is another range of rows than the manifest says");
    if (opened->shape(kItemValues) != Hdf5File::Shape{part.events, 0})
      throw DataError(part.path.string(), kItemValues, -1, "does not hold " + std::to_string(part.events) + " events");
    const std::vector<std::uint64_t> offsets =
        read_offsets(*opened, kItemOffsets, part.rows, part.events, part.first_row);
    for (std::int64_t r = 0; r < part.rows; ++r) {
      const auto i = static_cast<std::size_t>(r);
      if (r % kBlockRows == 0) block_offsets_.push_back(offsets[i]);
      lengths_.push_back(static_cast<std::uint32_t>(offsets[i + 1] - offsets[i]));
    }
    if (info_.split != kLeaveLastOut) read_splits(*opened, part);
    events_in_all += part.events;
  }
  if (events_in_all != info_.events)
    throw DataError((info_.folder / kManifestName).string(),
                    "the parts' events do not add up to " + std::to_string(info_.events));
}

void DatasetReader::read_splits(const Hdf5File& file, const DatasetPart& part) {
  const auto rows = static_cast<std::size_t>(part.rows);
  std::vector<std::uint32_t> places(rows);
  const std::size_t first = splits_.size();
  splits_.resize(first + rows);
  for (const auto& [name, place] : {std::pair(kTrainingSplit, &RowSplit::training),
                                    {kValidSplit, &RowSplit::valid},
                                    {kTestSplit, &RowSplit::test}}) {
    check_rows(file, name, part.rows);
    file.read(name, 0, std::span(places), part.first_row);
    for (std::size_t r = 0; r < rows; ++r) splits_[first + r].*place = places[r];
  }
  for (std::size_t row = first; row < splits_.size(); ++row)
    if (const std::string wrong = wrong_with_split(splits_[row], lengths_[row]); !wrong.empty())
      throw DataError(part.path.string(), "/sequences/split", static_cast<std::int64_t>(row), wrong);
}

std::shared_ptr<const Hdf5File> DatasetReader::file(std::size_t part) {
  return files_.get(part, [&] {
    return std::pair(std::make_shared<const Hdf5File>(Hdf5File::open(parts_[part].path)), std::size_t{1});
  });
}

std::shared_ptr<const EventBlock> DatasetReader::block(std::int64_t number) {
  return blocks_.get(static_cast<std::uint64_t>(number), [&] {
    const std::int64_t first = number * kBlockRows;
    const auto p = static_cast<std::size_t>(first / part_rows_);
    const std::int64_t rows = std::min(kBlockRows, info_.rows - first);  // parts end with whole blocks
    auto made = std::make_shared<EventBlock>();
    made->offsets.assign(1, 0);
    std::uint64_t size = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      size += lengths_[static_cast<std::size_t>(first + r)];
      if (size > std::numeric_limits<std::uint32_t>::max())
        throw DataError(parts_[p].path.string(), kItemValues, first + r, "a block of rows has over 2^32 events");
      made->offsets.push_back(static_cast<std::uint32_t>(size));
    }
    made->values.resize(size);
    const std::uint64_t from = block_offsets_[static_cast<std::size_t>(number)];
    file(p)->read(kItemValues, static_cast<std::int64_t>(from), std::span(made->values), first);
    check_items(parts_[p], *made, info_.items, first);
    const std::size_t bytes = made->bytes();
    return std::pair(std::shared_ptr<const EventBlock>(std::move(made)), bytes);
  });
}

RowEvents DatasetReader::events(std::int64_t row) {
  if (row < 0 || row >= info_.rows) no_such_row(row);
  std::shared_ptr<const EventBlock> held = block(row / kBlockRows);
  const std::span<const std::uint32_t> items = held->row(static_cast<std::size_t>(row % kBlockRows));
  return {std::move(held), items};
}

std::optional<std::size_t> DatasetReader::find_column(std::string_view full_name) const {
  const auto at = std::find_if(columns_.begin(), columns_.end(),
                               [&](const ColumnInfo& column) { return column.full_name() == full_name; });
  if (at == columns_.end()) return std::nullopt;
  return static_cast<std::size_t>(at - columns_.begin());
}

std::shared_ptr<const ValueBlock> DatasetReader::value_block(std::int64_t number, std::size_t column,
                                                             std::size_t events) {
  return value_blocks_.get(static_cast<std::uint64_t>(number) * columns_.size() + column, [&] {
    const std::int64_t first = number * kBlockRows;
    const auto p = static_cast<std::size_t>(first / part_rows_);
    const ColumnInfo& info = columns_[column];
    const auto opened = file(p);
    check_rows(*opened, values_of(info), parts_[p].events);
    auto made = std::make_shared<ValueBlock>();
    const auto read = [&](auto& values) {
      values.resize(events);
      const std::uint64_t from = block_offsets_[static_cast<std::size_t>(number)];
      opened->read(values_of(info), static_cast<std::int64_t>(from), std::span(values), first);
      return sizeof(values.front()) * events;
    };
    const std::size_t bytes = info.kind == "category" ? read(made->codes)
                              : info.kind == "time"   ? read(made->times)
                                                      : read(made->numbers);
    check_values(parts_[p], info, *made, first);
    return std::pair(std::shared_ptr<const ValueBlock>(std::move(made)), bytes);
  });
}

RowValues DatasetReader::values(std::int64_t row, std::size_t column) {
  if (row < 0 || row >= info_.rows) no_such_row(row);
  const auto items = block(row / kBlockRows);  // knows where the row begins
  RowValues out;
  out.block = value_block(row / kBlockRows, column, items->values.size());
  const auto r = static_cast<std::size_t>(row % kBlockRows);
  const std::size_t begin = items->offsets[r], size = items->offsets[r + 1] - begin;
  if (!out.block->codes.empty()) out.codes = std::span(out.block->codes).subspan(begin, size);
  if (!out.block->numbers.empty()) out.numbers = std::span(out.block->numbers).subspan(begin, size);
  if (!out.block->times.empty()) out.times = std::span(out.block->times).subspan(begin, size);
  return out;
}

TextColumn DatasetReader::vocabulary(std::size_t column) const {
  const ColumnInfo& info = columns_[column];
  const std::string group = "/vocabulary/events/" + info.name;
  return read_texts(Hdf5File::open(catalogue_path_), (group + "/values").c_str(), (group + "/offsets").c_str(),
                    info.values - kFirstValueCode, 0);
}

void DatasetReader::no_such_row(std::int64_t row) const {
  throw DataError(info_.folder.string(), "/sequences", row,
                  "there is no such row; the dataset has rows 0 to " + std::to_string(info_.rows - 1));
}

const TextColumn& DatasetReader::names() {
  std::call_once(names_read_, [&] {
    item_names_ = read_texts(Hdf5File::open(catalogue_path_), kNameValues, kNameOffsets, info_.items, 0);
  });
  return item_names_;
}

TextColumn DatasetReader::users(std::size_t part) {
  return read_texts(*file(part), kUserValues, kUserOffsets, parts_[part].rows, parts_[part].first_row);
}

}  // namespace decant::data
