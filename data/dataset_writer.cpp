#include "data/dataset_writer.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/files.h"
#include "data/column_store.h"
#include "data/errors.h"
#include "data/hdf5_file.h"

namespace decant::data {

namespace {

/// 256 KiB of u32: large enough for a disk, small enough for a block of a few rows.
constexpr std::int64_t kChunk = std::int64_t{1} << 16;

/// The folder under its temporary name; removed again unless it was renamed.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& out) : path_(out) {
    path_ += ".tmp";
    (void)refuse_foreign(path_);  // what a killed import left is a store too, if half of one
    std::error_code error;
    fs::remove_all(path_, error);
    fs::create_directories(path_, error);
    if (error) throw base::FileError(path_.string(), "cannot make the folder: " + error.message());
  }
  ~TemporaryFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void describe_column(Hdf5File& file, const std::string& column, const char* kind, const char* role) {
  file.set_text(column, "kind", kind);
  file.set_text(column, "role", role);
}

/// Rows [first, first + count) of a ragged column, its offsets counting from 0.
template <class T>
void write_ragged(Hdf5File& file, const std::string& column, const std::vector<T>& values,
                  const std::vector<std::uint64_t>& offsets, std::int64_t first, std::int64_t count) {
  const auto begin = offsets.begin() + first;
  std::vector<std::uint64_t> local(begin, begin + count + 1);
  const std::uint64_t from = local.front(), to = local.back();
  for (std::uint64_t& offset : local) offset -= from;
  file.write(column + "/values", std::span<const T>(values).subspan(from, to - from), 0, kChunk);
  file.write(column + "/offsets", std::span<const std::uint64_t>(local), 0, kChunk);
}

/// Closes, syncs, and says what the manifest keeps of the file.
base::Json seal(Hdf5File& file) {
  file.close();
  base::sync_path(file.path());
  return {{"file", file.path().filename().string()}, {"bytes", fs::file_size(file.path())}};
}

base::Json write_part(const DatasetContent& content, const fs::path& folder, std::int64_t part, std::int64_t first,
                      std::int64_t count) {
  Hdf5File file = Hdf5File::create(folder / part_name(part));
  file.make_group("/sequences/user");
  file.make_group("/sequences/items");
  file.set_number("/sequences", "first_row", static_cast<std::uint64_t>(first));
  file.set_number("/sequences", "rows", static_cast<std::uint64_t>(count));
  describe_column(file, "/sequences/user", "text", "id");
  describe_column(file, "/sequences/items", "ragged", "feature");
  write_ragged(file, "/sequences/user", content.users.values, content.users.offsets, first, count);
  write_ragged(file, "/sequences/items", content.events, content.offsets, first, count);
  base::Json entry = seal(file);
  entry["first_row"] = first;
  entry["rows"] = count;
  entry["events"] =
      content.offsets[static_cast<std::size_t>(first + count)] - content.offsets[static_cast<std::size_t>(first)];
  return entry;
}

base::Json write_catalogue(const DatasetContent& content, const fs::path& folder) {
  Hdf5File file = Hdf5File::create(folder / kCatalogueName);
  file.make_group("/items/id");
  describe_column(file, "/items/id", "text", "id");
  write_ragged(file, "/items/id", content.items.values, content.items.offsets, 0, content.items.size());
  const std::vector<std::uint32_t> counts = count_training(content);
  file.write("/items/count", std::span<const std::uint32_t>(counts), 0, kChunk);
  describe_column(file, "/items/count", "scalar", "count");
  return seal(file);
}

std::string hash_content(const DatasetContent& content, const std::string& catalogue) {
  std::vector<std::uint32_t> lengths(static_cast<std::size_t>(content.rows()));
  for (std::size_t row = 0; row < lengths.size(); ++row)
    lengths[row] = static_cast<std::uint32_t>(content.offsets[row + 1] - content.offsets[row]);
  ContentHasher hasher;
  hasher.add(lengths, content.events);
  return hasher.hex(catalogue, kLeaveLastOut);
}

}  // namespace

std::vector<std::uint32_t> count_training(const DatasetContent& content) {
  std::vector<std::uint32_t> counts(static_cast<std::size_t>(content.items.size()));
  for (std::int64_t row = 0; row < content.rows(); ++row) {
    const std::uint64_t first = content.offsets[static_cast<std::size_t>(row)];
    const auto length = static_cast<std::int64_t>(content.offsets[static_cast<std::size_t>(row) + 1] - first);
    for (std::int64_t i = 0; i < training_length(length); ++i)
      ++counts[content.events[first + static_cast<std::uint64_t>(i)]];
  }
  return counts;
}

std::vector<std::uint32_t> training_lengths(const DatasetContent& content) {
  std::vector<std::uint32_t> lengths(static_cast<std::size_t>(content.rows()));
  for (std::size_t row = 0; row < lengths.size(); ++row)
    lengths[row] = static_cast<std::uint32_t>(
        training_length(static_cast<std::int64_t>(content.offsets[row + 1] - content.offsets[row])));
  return lengths;
}

void write_dataset(const DatasetContent& content, const fs::path& out, std::int64_t part_rows,
                   const std::function<void(const char*)>& at) {
  const fs::path target = fs::absolute(out).lexically_normal();
  const fs::path place = target.has_filename() ? target : target.parent_path();  // "runs/a/" is "runs/a"
  (void)refuse_foreign(place);                                                   // it is replaced as a whole
  const TemporaryFolder folder(place);
  base::Json parts = base::Json::array();
  for (std::int64_t first = 0; first < content.rows(); first += part_rows)
    parts.push_back(write_part(content, folder.path(), static_cast<std::int64_t>(parts.size()), first,
                               std::min(part_rows, content.rows() - first)));
  if (at) at("import-write");
  const std::string catalogue = catalogue_hash(content.items);
  base::Json manifest = {{"rows", content.rows()},          {"items", content.items.size()},
                         {"events", content.events.size()}, {"split", kLeaveLastOut},
                         {"catalogue_hash", catalogue},     {"content_hash", hash_content(content, catalogue)},
                         {"part_rows", part_rows},          {"catalogue", write_catalogue(content, folder.path())},
                         {"parts", std::move(parts)},       {"import", content.import}};
  if (!content.columns.empty()) {
    manifest["columns_file"] = write_columns(folder.path(), content.columns);
    for (const auto& column : content.columns) {
      auto info = column.info;
      info.hash = hash_column(column);
      manifest["columns"].push_back(info.to_json());
    }
  }
  base::save_document(folder.path() / kManifestName, kDatasetFormat, kDatasetVersion, std::move(manifest));
  base::sync_path(folder.path());
  if (at) at("import-commit");
  base::replace_path(folder.path(), place);
}

}  // namespace decant::data
