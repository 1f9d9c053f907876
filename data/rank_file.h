// Ranks of every target of valid and test, as one side gave them: ranks.h5 (docs/file_formats.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace decant::data {

/// Columns of one length, in the order of the dataset's rows.
struct TargetRanks {
  std::vector<std::uint64_t> rows;     // of the dataset
  std::vector<std::uint32_t> targets;  // item
  std::vector<std::uint32_t> all;      // 0-based rank among all items
  std::vector<std::uint32_t> unseen;   // among the items that the history does not have
};

struct RankFile {
  std::string side;          // "teacher", "student", "control", "popularity", "transitions"
  std::string weights_hash;  // of the model that ranked; "" for a baseline
  std::string content_hash;  // of the dataset
  TargetRanks valid, test;
};

/// Writes `path`, whole or not at all; the same ranks give the same bytes. Throws FileError, DataError.
void write_ranks(const std::filesystem::path& path, const RankFile& file);

/// Throws DataError naming the file when it is missing, damaged, of another format or newer.
[[nodiscard]] RankFile read_ranks(const std::filesystem::path& path);

}  // namespace decant::data
