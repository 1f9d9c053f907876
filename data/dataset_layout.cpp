#include "data/dataset_layout.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <string_view>
#include <utility>

#include "data/errors.h"

namespace decant::data {

// Hashes and columns are little-endian by definition; nothing here swaps bytes.
static_assert(std::endian::native == std::endian::little);

std::string part_name(std::int64_t part) {
  char name[40];
  std::snprintf(name, sizeof name, "part-%05lld.h5", static_cast<long long>(part));
  return name;
}

namespace {

/// A finished file of a store: a manifest, a catalogue, columns, or "part-<five digits or more>.h5".
bool is_whole(std::string_view name) {
  if (name == kManifestName || name == kCatalogueName || name == kColumnsName) return true;
  constexpr std::string_view kStart = "part-", kEnd = ".h5";
  if (!name.starts_with(kStart) || !name.ends_with(kEnd) || name.size() < kStart.size() + 5 + kEnd.size()) return false;
  name.remove_prefix(kStart.size());
  name.remove_suffix(kEnd.size());
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

bool is_temporary(const std::string& name) {
  // base::write_file and the label writer name them ".<name>.tmp-<whose>".
  const std::size_t end = name.find(".tmp-");
  if (!name.starts_with('.') || end == std::string::npos) return false;
  const std::string_view whole = std::string_view(name).substr(1, end - 1);
  return is_whole(whole) || whole == kEventsName;
}

bool is_store_file(const std::string& name) { return is_whole(name) || is_temporary(name); }

std::vector<std::string> refuse_foreign(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  if (!fs::exists(folder, error)) return names;
  if (!fs::is_directory(folder, error))
    throw base::ConfigError(folder.string() + " is there and is no folder; choose another");
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    names.push_back(at->path().filename().string());
    if (!is_store_file(names.back()))
      throw base::ConfigError(folder.string() + " is no store of decant, it holds " + names.back() +
                              "; choose another folder");
  }
  if (error) throw base::FileError(folder.string(), "cannot list the folder: " + error.message());
  return names;
}

std::string catalogue_hash(const TextColumn& names) {
  base::Hasher hasher;
  hasher.add(std::as_bytes(std::span(names.offsets)));
  hasher.add(std::as_bytes(std::span(names.values)));
  return hasher.hex();
}

std::string wrong_with_split(const RowSplit& split, std::uint32_t length) {
  if (split.training > length)
    return std::to_string(split.training) + " training events in a row of " + std::to_string(length);
  for (const auto& [name, target] : {std::pair("valid", split.valid), {"test", split.test}}) {
    if (target == kNoTarget) continue;
    const std::string what = std::string("its ") + name + " target is event " + std::to_string(target) + ", ";
    if (target >= length) return what + "and the row has " + std::to_string(length);
    if (target < std::max(1U, split.training)) return what + "which is training's or has no history";
  }
  if (split.valid != kNoTarget && split.test != kNoTarget && split.test <= split.valid)
    return "its test target is not after its valid target";
  return {};
}

std::string ContentHasher::hex(const std::string& catalogue, const std::string& split,
                               const std::vector<ColumnInfo>& columns) const {
  std::string text = catalogue + " " + split + " " + lengths_.hex() + " " + items_.hex();
  if (split != kLeaveLastOut) text += " " + training_.hex() + " " + valid_.hex() + " " + test_.hex();
  for (const ColumnInfo& column : columns)
    if (column.role == "weight") text += " " + column.full_name() + ":" + column.hash;
  return base::hash_hex(std::as_bytes(std::span(text)));
}

const base::Json& manifest_field(const base::Json& tree, const char* field, const fs::path& path) {
  const auto at = tree.is_object() ? tree.find(field) : tree.end();
  if (at == tree.end()) throw DataError(path.string(), std::string("the field ") + field + " is missing");
  return *at;
}

std::int64_t manifest_number(const base::Json& tree, const char* field, const fs::path& path) {
  const base::Json& value = manifest_field(tree, field, path);
  if (!value.is_number_integer())
    throw DataError(path.string(), std::string("the field ") + field + " is no whole number");
  return value.get<std::int64_t>();
}

std::string manifest_text(const base::Json& tree, const char* field, const fs::path& path) {
  const base::Json& value = manifest_field(tree, field, path);
  if (!value.is_string()) throw DataError(path.string(), std::string("the field ") + field + " is no text");
  return value.get<std::string>();
}

void check_size(const fs::path& path, std::int64_t bytes) {
  std::error_code error;
  const auto size = static_cast<std::int64_t>(fs::file_size(path, error));
  if (error) throw DataError(path.string(), "the file is missing (" + error.message() + ")");
  if (size != bytes)
    throw DataError(path.string(), "has " + std::to_string(size) + " bytes where the manifest says " +
                                       std::to_string(bytes) + ": cut short or replaced");
}

}  // namespace decant::data
