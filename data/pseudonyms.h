// Pseudonyms: original ids replaced by a keyed hash. What that protects against, and what not: docs/privacy.md.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/options.h"
#include "data/dataset_layout.h"

namespace decant::data {

namespace fs = std::filesystem;

struct PseudonymOptions : base::Options {
  std::string key_file;  // empty: ids stay as they are
  bool users = true, items = false;
  std::string map;  // a file for pairs of pseudonym and id; empty: none is written
  void describe(base::Fields& fields) override;
  [[nodiscard]] bool on() const { return !key_file.empty(); }
  /// Throws ConfigError for what no single field can know.
  void check() const;
};

enum class IdKind : std::uint8_t { kUser, kItem };

/// A pseudonym is BLAKE2b with 128 bits and a key, as 32 hexadecimal digits, over "user" or "item", a zero byte, and the
/// id. The key is BLAKE2b with 256 bits over the bytes of the key file.
class Pseudonyms {
 public:
  /// Throws FileError when the file cannot be read, ConfigError when it has under 16 bytes or others may read it.
  explicit Pseudonyms(const fs::path& key_file);
  ~Pseudonyms();
  Pseudonyms(const Pseudonyms&) = delete;
  Pseudonyms& operator=(const Pseudonyms&) = delete;

  [[nodiscard]] std::string of(IdKind kind, std::string_view id) const;
  [[nodiscard]] TextColumn of(IdKind kind, const TextColumn& ids) const;
  /// 16 digits that tell two keys apart and say nothing else of them.
  [[nodiscard]] const std::string& fingerprint() const { return fingerprint_; }

 private:
  std::array<unsigned char, 32> key_{};
  std::string fingerprint_;
};

/// What an import does with ids, from the options to the map.
class PseudonymImport {
 public:
  /// `out`: the folder of the dataset; empty: none is made. Throws ConfigError when the map would lie in it.
  PseudonymImport(const PseudonymOptions& options, const fs::path& out);
  /// How one id is replaced; empty where ids of that kind stay. It must not outlive this.
  [[nodiscard]] std::function<std::string(std::string_view)> of(IdKind kind) const;
  /// Replaces the ids where that is asked for.
  void replace(TextColumn& users, TextColumn& items);
  /// Writes the map, for its owner's eyes alone, of the ids that are left: lines of user or item, pseudonym, id, with tabs
  /// between. Nothing where none is asked for. Throws FileError.
  void write_map(const TextColumn& users, const TextColumn& items) const;
  /// For the manifest; null where ids stay as they are.
  [[nodiscard]] base::Json facts() const;

 private:
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  void replace(IdKind kind, TextColumn& ids, Pairs& pairs);

  const PseudonymOptions& options_;
  std::optional<Pseudonyms> pseudonyms_;
  Pairs users_, items_;
};

/// What a dataset's manifest says of its ids.
struct PseudonymFacts {
  bool users = false, items = false;
  std::string fingerprint;  // of the key; empty: ids are as they came
};
[[nodiscard]] PseudonymFacts pseudonym_facts(const fs::path& dataset);

/// What replaces the ids of a dataset; null when `key_file` is empty. Throws ConfigError
/// when the key is not that of the import, or the dataset's ids are as they came.
[[nodiscard]] std::unique_ptr<Pseudonyms> pseudonyms_of(const fs::path& dataset, const fs::path& key_file);

}  // namespace decant::data
