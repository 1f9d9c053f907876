#include "data/rank_file.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "data/errors.h"
#include "data/hdf5_file.h"

namespace decant::data {
namespace {

constexpr const char* kFormat = "decant-ranks";
constexpr std::uint64_t kVersion = 1;
constexpr std::int64_t kChunkRows = 65536;

void write_split(Hdf5File& file, const std::string& group, const TargetRanks& ranks) {
  file.make_group(group);
  file.write(group + "/row", std::span<const std::uint64_t>(ranks.rows), 0, kChunkRows);
  file.write(group + "/target", std::span<const std::uint32_t>(ranks.targets), 0, kChunkRows);
  file.write(group + "/rank", std::span<const std::uint32_t>(ranks.all), 0, kChunkRows);
  file.write(group + "/rank_unseen", std::span<const std::uint32_t>(ranks.unseen), 0, kChunkRows);
}

TargetRanks read_split(const Hdf5File& file, const std::string& group) {
  TargetRanks out;
  const auto read = [&](const std::string& name, auto& column) {
    const auto shape = file.shape(group + name);
    if (shape.columns != 0) throw DataError(file.path().string(), group + name, -1, "has two dimensions, not one");
    column.resize(static_cast<std::size_t>(shape.rows));
    file.read(group + name, 0, std::span(column));
  };
  read("/row", out.rows);
  read("/target", out.targets);
  read("/rank", out.all);
  read("/rank_unseen", out.unseen);
  const auto size = out.rows.size();
  if (out.targets.size() != size || out.all.size() != size || out.unseen.size() != size)
    throw DataError(file.path().string(), group, -1, "its columns differ in length");
  if (std::adjacent_find(out.rows.begin(), out.rows.end(), std::greater_equal<>()) != out.rows.end())
    throw DataError(file.path().string(), group + "/row", -1, "rows do not ascend");
  return out;
}

/// Removed at the end of its scope, unless it was renamed.
struct Temporary {
  std::filesystem::path path;
  ~Temporary() {
    std::error_code error;
    std::filesystem::remove(path, error);
  }
};

}  // namespace

void write_ranks(const std::filesystem::path& path, const RankFile& content) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) throw base::FileError(path.parent_path().string(), "cannot make the folder: " + error.message());
  const Temporary temporary{path.parent_path() /
                            ("." + path.filename().string() + ".tmp-" + std::to_string(::getpid()))};
  Hdf5File file = Hdf5File::create(temporary.path);
  file.set_text("/", "format", kFormat);
  file.set_number("/", "version", kVersion);
  file.set_text("/", "side", content.side);
  file.set_text("/", "weights_hash", content.weights_hash);
  file.set_text("/", "content_hash", content.content_hash);
  write_split(file, "/valid", content.valid);
  write_split(file, "/test", content.test);
  file.close();
  base::sync_path(temporary.path);
  base::replace_path(temporary.path, path);
}

RankFile read_ranks(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw DataError(path.string(), "is not there: 'decant evaluate' writes it");
  const Hdf5File file = Hdf5File::open(path, 0);
  if (const auto format = file.text("/", "format"); format != kFormat)
    throw DataError(path.string(), "its format is '" + format + "', expected '" + kFormat + "'");
  if (const auto version = file.number("/", "version"); version > kVersion)
    throw DataError(path.string(), "it was written by a newer decant (its version is " + std::to_string(version) +
                                       ", this program reads up to " + std::to_string(kVersion) + ")");
  RankFile out;
  out.side = file.text("/", "side");
  out.weights_hash = file.text("/", "weights_hash");
  out.content_hash = file.text("/", "content_hash");
  out.valid = read_split(file, "/valid");
  out.test = read_split(file, "/test");
  return out;
}

}  // namespace decant::data
