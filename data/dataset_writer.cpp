#include "data/dataset_writer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/files.h"
#include "data/column_store.h"
#include "data/column_writer.h"
#include "data/errors.h"
#include "data/hdf5_file.h"

namespace decant::data {

namespace {

void describe_column(Hdf5File& file, const std::string& column, const char* kind, const char* role) {
  file.set_text(column, "kind", kind);
  file.set_text(column, "role", role);
}

void write_texts(Hdf5File& file, const std::string& column, const TextColumn& texts) {
  file.write(column + "/values", std::span(std::as_const(texts.values)), 0, kColumnChunk);
  file.write(column + "/offsets", std::span(std::as_const(texts.offsets)), 0, kColumnChunk);
}

/// Closes, syncs, and says what the manifest keeps of the file.
base::Json seal(Hdf5File& file) {
  file.close();
  base::sync_path(file.path());
  return {{"file", file.path().filename().string()}, {"bytes", fs::file_size(file.path())}};
}

Element element_of(const ColumnInfo& column) {
  if (column.kind == "category") return Element::kU32;
  return column.kind == "time" ? Element::kI64 : Element::kF32;
}

std::span<const std::byte> bytes_of(const ColumnInfo& column, const EventValues& values) {
  switch (element_of(column)) {
    case Element::kU32:
      return std::as_bytes(values.codes);
    case Element::kI64:
      return std::as_bytes(values.times);
    default:
      return std::as_bytes(values.numbers);
  }
}

/// One part that is being written.
class Part {
 public:
  Part(const fs::path& path, std::int64_t first_row, const PartSize& size, bool with_splits,
       const std::vector<EventColumn>& columns)
      : file_(Hdf5File::create(path)), first_row_(first_row), size_(size) {
    file_.make_group("/sequences/user");
    file_.make_group("/sequences/items");
    file_.set_number("/sequences", "first_row", static_cast<std::uint64_t>(first_row));
    file_.set_number("/sequences", "rows", static_cast<std::uint64_t>(size.rows));
    describe_column(file_, "/sequences/user", "text", "id");
    describe_column(file_, "/sequences/items", "ragged", "feature");
    names_.emplace(file_, "/sequences/user", Element::kU8, size.rows, size.name_bytes);
    items_.emplace(file_, "/sequences/items", Element::kU32, size.rows, size.events);
    if (with_splits) {
      file_.make_group("/sequences/split");
      for (const char* name : {"train", "valid", "test"})
        splits_.push_back(
            std::make_unique<ColumnWriter>(file_, std::string("/sequences/split/") + name, Element::kU32, size.rows));
    }
    for (const EventColumn& column : columns) {
      const std::string group = "/events/" + column.info.name;
      file_.make_group(group);
      describe_column(file_, group, column.info.kind.c_str(), column.info.role.c_str());
      columns_.push_back(
          std::make_unique<ColumnWriter>(file_, group + "/values", element_of(column.info), size.events));
    }
  }

  void add(std::string_view user, std::span<const std::uint32_t> items, const RowSplit& split,
           std::span<const std::span<const std::byte>> values) {
    names_->add(std::as_bytes(std::span(user)));
    items_->add(std::as_bytes(items));
    const std::array<const std::uint32_t*, 3> places{&split.training, &split.valid, &split.test};
    for (std::size_t i = 0; i < splits_.size(); ++i) splits_[i]->add(std::as_bytes(std::span(places[i], 1)));
    for (std::size_t c = 0; c < columns_.size(); ++c) columns_[c]->add(values[c]);
    ++rows_;
  }

  [[nodiscard]] bool full() const { return rows_ == size_.rows; }

  /// What the manifest keeps of it.
  base::Json finish() {
    names_->finish();
    items_->finish();
    for (const auto& column : splits_) column->finish();
    for (const auto& column : columns_) column->finish();
    base::Json entry = seal(file_);
    entry["first_row"] = first_row_;
    entry["rows"] = size_.rows;
    entry["events"] = size_.events;
    return entry;
  }

 private:
  Hdf5File file_;
  std::int64_t first_row_, rows_ = 0;
  PartSize size_;
  std::optional<RaggedWriter> names_, items_;
  std::vector<std::unique_ptr<ColumnWriter>> splits_, columns_;
};

}  // namespace

DatasetFolder::DatasetFolder(const fs::path& out) {
  const fs::path target = fs::absolute(out).lexically_normal();
  place_ = target.has_filename() ? target : target.parent_path();  // "runs/a/" is "runs/a"
  path_ = place_;
  path_ += ".tmp";
  (void)refuse_foreign(place_);
}

const fs::path& DatasetFolder::path() {
  if (made_) return path_;
  (void)refuse_foreign(path_);  // what a killed import left is a store too, if half of one
  std::error_code error;
  fs::remove_all(path_, error);
  made_ = true;
  fs::create_directories(path_, error);
  if (error) throw base::FileError(path_.string(), "cannot make the folder: " + error.message());
  return path_;
}

void DatasetFolder::commit() {
  base::sync_path(path_);
  base::replace_path(path_, place_);
}

DatasetFolder::~DatasetFolder() {
  std::error_code error;
  if (made_) fs::remove_all(path_, error);
}

struct DatasetWriter::Impl {
  fs::path folder;
  Shape shape;
  std::unique_ptr<Part> part;
  base::Json parts = base::Json::array();
  std::int64_t rows = 0, events = 0;
  ContentHasher hasher;
  std::vector<std::unique_ptr<base::Hasher>> column_hashers;
  std::vector<std::span<const std::byte>> row_values;

  [[nodiscard]] bool splits() const { return shape.split != kLeaveLastOut; }

  void begin_part() {
    const std::size_t number = parts.size();
    part = std::make_unique<Part>(folder / part_name(static_cast<std::int64_t>(number)),
                                  static_cast<std::int64_t>(number) * shape.part_rows, shape.parts.at(number), splits(),
                                  shape.columns);
  }

  void end_part() {
    parts.push_back(part->finish());
    part.reset();
  }

  [[nodiscard]] std::vector<ColumnInfo> columns() const {
    std::vector<ColumnInfo> out;
    for (std::size_t c = 0; c < shape.columns.size(); ++c) {
      out.push_back(shape.columns[c].info);
      out.back().hash = column_hashers[c]->hex();
    }
    return out;
  }

  base::Json write_catalogue(const TextColumn& items, std::span<const std::uint32_t> training) {
    Hdf5File file = Hdf5File::create(folder / kCatalogueName);
    file.make_group("/items/id");
    describe_column(file, "/items/id", "text", "id");
    write_texts(file, "/items/id", items);
    file.write("/items/count", training, 0, kColumnChunk);
    describe_column(file, "/items/count", "scalar", "count");
    for (const EventColumn& column : shape.columns) {
      if (column.info.kind != "category") continue;
      const std::string group = "/vocabulary/events/" + column.info.name;
      file.make_group(group);
      describe_column(file, group, "text", "vocabulary");
      write_texts(file, group, column.vocabulary);
    }
    return seal(file);
  }
};

DatasetWriter::DatasetWriter(fs::path folder, Shape shape) : impl_(std::make_unique<Impl>()) {
  impl_->folder = std::move(folder);
  impl_->shape = std::move(shape);
  for (std::size_t c = 0; c < impl_->shape.columns.size(); ++c)
    impl_->column_hashers.push_back(std::make_unique<base::Hasher>());
}

DatasetWriter::~DatasetWriter() = default;

void DatasetWriter::add(std::string_view user, std::span<const std::uint32_t> items, const RowSplit& split,
                        std::span<const EventValues> values) {
  auto& own = *impl_;
  if (own.part == nullptr) own.begin_part();
  own.row_values.clear();
  for (std::size_t c = 0; c < values.size(); ++c) {
    own.row_values.push_back(bytes_of(own.shape.columns[c].info, values[c]));
    own.column_hashers[c]->add(own.row_values.back());
  }
  own.part->add(user, items, split, own.row_values);
  const auto length = static_cast<std::uint32_t>(items.size());
  own.hasher.add(std::span(&length, 1), items);
  if (own.splits()) own.hasher.add(split);
  ++own.rows;
  own.events += length;
  if (own.part->full()) own.end_part();
}

void DatasetWriter::finish(const TextColumn& items, std::span<const std::uint32_t> training,
                           const std::vector<TableColumn>& of_tables, const base::Json& import,
                           const std::function<void(const char*)>& at) {
  auto& own = *impl_;
  if (at) at("import-write");
  const std::string catalogue = catalogue_hash(items);
  const std::vector<ColumnInfo> columns = own.columns();
  base::Json manifest = {{"rows", own.rows},
                         {"items", items.size()},
                         {"events", own.events},
                         {"split", own.shape.split},
                         {"catalogue_hash", catalogue},
                         {"content_hash", own.hasher.hex(catalogue, own.shape.split, columns)},
                         {"part_rows", own.shape.part_rows},
                         {"catalogue", own.write_catalogue(items, training)},
                         {"parts", std::move(own.parts)}};
  for (const ColumnInfo& column : columns) manifest["columns"].push_back(column.to_json());
  if (!of_tables.empty()) manifest["columns_file"] = write_columns(own.folder, of_tables);
  for (const TableColumn& column : of_tables) {
    auto info = column.info;
    info.hash = hash_column(column);
    manifest["columns"].push_back(info.to_json());
  }
  manifest["import"] = import;
  const int version = own.splits() || !columns.empty() ? kDatasetVersion : 1;
  base::save_document(own.folder / kManifestName, kDatasetFormat, version, std::move(manifest));
}

void write_dataset(const DatasetContent& content, const fs::path& out, std::int64_t part_rows,
                   const std::function<void(const char*)>& at) {
  DatasetFolder folder(out);
  DatasetWriter::Shape shape{part_rows, {}, content.split, {}};
  for (std::int64_t first = 0; first < content.rows(); first += part_rows) {
    const auto begin = static_cast<std::size_t>(first);
    const auto end = static_cast<std::size_t>(std::min(first + part_rows, content.rows()));
    shape.parts.push_back({static_cast<std::int64_t>(end - begin),
                           static_cast<std::int64_t>(content.offsets[end] - content.offsets[begin]),
                           static_cast<std::int64_t>(content.users.offsets[end] - content.users.offsets[begin])});
  }
  DatasetWriter writer(folder.path(), std::move(shape));
  std::vector<std::uint32_t> training(static_cast<std::size_t>(content.items.size()));
  for (std::size_t row = 0; row < static_cast<std::size_t>(content.rows()); ++row) {
    const auto items =
        std::span(content.events).subspan(content.offsets[row], content.offsets[row + 1] - content.offsets[row]);
    const RowSplit split =
        content.splits.empty() ? leave_last_out(static_cast<std::uint32_t>(items.size())) : content.splits[row];
    for (const std::uint32_t item : items.first(split.training)) ++training[item];
    writer.add(content.users.at(static_cast<std::int64_t>(row)), items, split);
  }
  writer.finish(content.items, training, content.columns, content.import, at);
  if (at) at("import-commit");
  folder.commit();
}

}  // namespace decant::data
