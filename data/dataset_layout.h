// Names and rules of the dataset store that its writer, its reader and its inspection share (docs/file_formats.md).
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/options.h"
#include "data/column.h"

namespace decant::data {

namespace fs = std::filesystem;

inline constexpr char kDatasetFormat[] = "decant-dataset";
/// The newest one. Version 1 has no columns of events and one split rule, leave-last-out; such content is still written
/// as version 1.
inline constexpr int kDatasetVersion = 2;
inline constexpr char kManifestName[] = "manifest.json";
inline constexpr char kCatalogueName[] = "catalogue.h5";
inline constexpr char kColumnsName[] = "columns.h5";
/// Events of an import that lie on disk while it works: ".<this>.tmp-<what>".
inline constexpr char kEventsName[] = "events";
inline constexpr char kLeaveLastOut[] = "leave-last-out";
inline constexpr char kTemporal[] = "temporal";
inline constexpr char kGiven[] = "given";

/// Rows of one part, the last one apart; a multiple of kBlockRows.
inline constexpr std::int64_t kPartRows = std::int64_t{1} << 20;
/// Rows read and cached together.
inline constexpr std::int64_t kBlockRows = 4096;

/// "part-00012.h5".
[[nodiscard]] std::string part_name(std::int64_t part);
/// True for names of files that are being written, or were when their writer was killed.
[[nodiscard]] bool is_temporary(const std::string& name);
/// True for names that a store of ours may hold; what else lies in a folder is never removed.
[[nodiscard]] bool is_store_file(const std::string& name);

inline constexpr std::uint32_t kNoTarget = 0xffffffffU;

/// How a row is split: its first `training` events are training's; `valid` and `test` are the places of the targets, each
/// with everything before it as history.
struct RowSplit {
  std::uint32_t training = 0, valid = kNoTarget, test = kNoTarget;
  bool operator==(const RowSplit&) const = default;
};

/// Of n >= 3 events the last is test's target, the one before valid's; a shorter row is training only.
[[nodiscard]] inline RowSplit leave_last_out(std::uint32_t length) {
  if (length < 3) return {length, kNoTarget, kNoTarget};
  return {length - 2, length - 2, length - 1};
}

/// Why a row of `length` events cannot be split so; empty when it can. Training comes first, then valid, then test; a
/// target has an event before it.
[[nodiscard]] std::string wrong_with_split(const RowSplit& split, std::uint32_t length);

/// Texts laid end to end: text i is values[offsets[i], offsets[i + 1]).
struct TextColumn {
  std::vector<std::uint8_t> values;
  std::vector<std::uint64_t> offsets{0};

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  [[nodiscard]] std::string_view at(std::int64_t i) const {
    const auto k = static_cast<std::size_t>(i);
    return {reinterpret_cast<const char*>(values.data()) + offsets[k],
            static_cast<std::size_t>(offsets[k + 1] - offsets[k])};
  }
  void push_back(std::string_view text) {
    values.insert(values.end(), text.begin(), text.end());
    offsets.push_back(values.size());
  }
};

/// xxh3-64 over the little-endian offsets [items + 1] (u64), then the bytes of all original ids.
[[nodiscard]] std::string catalogue_hash(const TextColumn& names);

/// Builds the content hash row by row: xxh3-64 over the text "<catalogue hash> <split> <lengths> <items>", where the
/// last two are the xxh3-64 of all lengths and of all item ids, as little-endian u32 in row order. Where the split is not
/// leave-last-out, the hashes of its three columns follow, " <training> <valid> <test>"; then " event.weight:<hash>"
/// where events have weights: other columns count for those alone who take them. It does not depend on how rows are cut into parts.
class ContentHasher {
 public:
  void add(std::span<const std::uint32_t> lengths, std::span<const std::uint32_t> items) {
    lengths_.add(std::as_bytes(lengths));
    items_.add(std::as_bytes(items));
  }
  void add(const RowSplit& split) {
    training_.add(std::as_bytes(std::span(&split.training, 1)));
    valid_.add(std::as_bytes(std::span(&split.valid, 1)));
    test_.add(std::as_bytes(std::span(&split.test, 1)));
  }
  [[nodiscard]] std::string hex(const std::string& catalogue, const std::string& split,
                                const std::vector<ColumnInfo>& columns = {}) const;

 private:
  base::Hasher lengths_, items_, training_, valid_, test_;
};

/// Throws ConfigError when `folder` is there and holds anything but files of a store: such a folder is somebody's, and
/// is neither replaced nor cleaned. Returns the names found.
std::vector<std::string> refuse_foreign(const fs::path& folder);

/// A field of a manifest. Throws DataError naming the file and the field when it is absent or of another type.
[[nodiscard]] std::int64_t manifest_number(const base::Json& tree, const char* field, const fs::path& path);
[[nodiscard]] std::string manifest_text(const base::Json& tree, const char* field, const fs::path& path);
[[nodiscard]] const base::Json& manifest_field(const base::Json& tree, const char* field, const fs::path& path);

/// Throws DataError when `path` is missing or has not `bytes` bytes.
void check_size(const fs::path& path, std::int64_t bytes);

}  // namespace decant::data
