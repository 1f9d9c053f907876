#include "data/column_store.h"

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "data/errors.h"
#include "data/hdf5_file.h"

namespace decant::data {

namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 16;

std::string path_of(const ColumnInfo& info, const char* part) {
  return "/" + info.table + "/" + info.name + "/" + part;
}

void write_texts(Hdf5File& file, const std::string& base, const TextColumn& texts) {
  file.make_group(base);
  file.write(base + "/values", std::span<const std::uint8_t>(texts.values), 0, kChunk);
  file.write(base + "/offsets", std::span<const std::uint64_t>(texts.offsets), 0, kChunk);
}

TextColumn read_texts(const Hdf5File& file, const std::string& base, std::int64_t texts) {
  TextColumn out;
  const std::string name = base + "/offsets";
  if (file.shape(name) != Hdf5File::Shape{texts + 1, 0})
    throw DataError(file.path().string(), name, -1, "does not hold " + std::to_string(texts + 1) + " entries");
  out.offsets.resize(static_cast<std::size_t>(texts) + 1);
  file.read(name, 0, std::span(out.offsets));
  out.values.resize(static_cast<std::size_t>(file.shape(base + "/values").rows));
  if (out.offsets.front() != 0 || out.offsets.back() != out.values.size() ||
      !std::is_sorted(out.offsets.begin(), out.offsets.end()))
    throw DataError(file.path().string(), name, -1, "offsets must rise from 0 to the bytes of the texts");
  file.read(base + "/values", 0, std::span(out.values));
  return out;
}

void check_shape(const Hdf5File& file, const std::string& name, Hdf5File::Shape wanted) {
  if (file.shape(name) != wanted)
    throw DataError(file.path().string(), name, -1,
                    "does not hold " + std::to_string(wanted.rows) + " rows of " +
                        std::to_string(std::max<std::int64_t>(1, wanted.columns)) + " as the manifest says");
}

}  // namespace

std::string hash_column(const TableColumn& column) {
  base::Hasher hasher;
  hasher.add(std::as_bytes(std::span(column.codes)));
  hasher.add(std::as_bytes(std::span(column.numbers)));
  for (const auto* texts : {&column.texts, &column.vocabulary}) {
    hasher.add(std::as_bytes(std::span(texts->offsets)));
    hasher.add(std::as_bytes(std::span(texts->values)));
  }
  return hasher.hex();
}

base::Json write_columns(const std::filesystem::path& folder, const std::vector<TableColumn>& columns) {
  Hdf5File file = Hdf5File::create(folder / kColumnsName);
  for (const auto& column : columns) {
    const auto& info = column.info;
    const std::string group = "/" + info.table + "/" + info.name;
    file.make_group(group);
    file.set_text(group, "kind", info.kind);
    file.set_text(group, "role", info.role);
    if (info.kind == "number") file.write(path_of(info, "numbers"), std::span<const float>(column.numbers), 0, kChunk);
    if (info.kind == "text") write_texts(file, path_of(info, "text"), column.texts);
    if (info.kind != "category") continue;
    file.write(path_of(info, "codes"), std::span<const std::uint32_t>(column.codes), info.width, kChunk);
    write_texts(file, path_of(info, "vocabulary"), column.vocabulary);
  }
  file.close();
  base::sync_path(file.path());
  return {{"file", kColumnsName}, {"bytes", std::filesystem::file_size(file.path())}};
}

TableColumn read_column(const std::filesystem::path& path, const ColumnInfo& info, std::int64_t rows) {
  const Hdf5File file = Hdf5File::open(path);
  TableColumn out{info, {}, {}, {}, {}};
  if (info.kind == "text") {
    out.texts = read_texts(file, path_of(info, "text"), rows);
  } else if (info.kind == "number") {
    const auto name = path_of(info, "numbers");
    check_shape(file, name, {rows, 0});
    out.numbers.resize(static_cast<std::size_t>(rows));
    file.read(name, 0, std::span(out.numbers));
    for (std::size_t row = 0; row < out.numbers.size(); ++row)
      if (!std::isfinite(out.numbers[row]))
        throw DataError(path.string(), name, static_cast<std::int64_t>(row), "is no finite number");
  } else {
    const auto name = path_of(info, "codes");
    check_shape(file, name, {rows, info.width});
    out.codes.resize(static_cast<std::size_t>(rows * info.width));
    file.read(name, 0, std::span(out.codes));
    for (std::size_t i = 0; i < out.codes.size(); ++i)
      if (static_cast<std::int64_t>(out.codes[i]) >= info.values)
        throw DataError(path.string(), name, static_cast<std::int64_t>(i) / info.width,
                        "code " + std::to_string(out.codes[i]) + " is not below " + std::to_string(info.values));
    out.vocabulary = read_texts(file, path_of(info, "vocabulary"), info.values - kFirstValueCode);
  }
  if (hash_column(out) != info.hash)
    throw DataError(path.string(), "/" + info.table + "/" + info.name, -1,
                    "is not the column that the manifest's hash was made of");
  return out;
}

}  // namespace decant::data
