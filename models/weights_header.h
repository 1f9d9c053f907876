// What stands at the head of a safetensors file, for the sources that read and write such files.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/hash.h"

namespace decant::models {

/// What the header says of one tensor.
struct WeightsEntry {
  std::string name;
  torch::ScalarType type = torch::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0, end = 0;  // of its bytes, after the header
};

struct WeightsHeader {
  std::string text;                   // with zeros in the place of the hash's digits
  std::vector<WeightsEntry> entries;  // in the order of their bytes, without holes
  std::map<std::string, std::string> metadata;
  std::string hash;  // that the file carries; "": another program's file
};

/// Reads a file front to back; what is cut short is a FileError.
class WeightsReader {
 public:
  /// Opens the file and reads its header. REQUIRES: `path` outlives the reader.
  explicit WeightsReader(const std::filesystem::path& path);
  [[nodiscard]] const WeightsHeader& header() const { return header_; }
  void read(void* to, std::uint64_t bytes);
  /// Throws FileError unless `hex`, of the header's text and all data, is what the file carries (if it carries one).
  void check_hash(const std::string& hex) const;

 private:
  [[nodiscard]] std::string read_text();
  const std::filesystem::path& path_;
  std::ifstream stream_;
  std::uint64_t left_ = 0;
  WeightsHeader header_;
};

/// The header of tensors that follow each other without holes. Sets "writer" and, with zeros, the hash. Throws FileError
/// for two tensors of one name, a dtype without a name in safetensors, and text that is not UTF-8.
[[nodiscard]] std::string weights_header(const std::filesystem::path& path, const std::vector<WeightsEntry>& entries,
                                         std::map<std::string, std::string> metadata);

/// Where the digits of the hash stand in a header that we wrote, or npos.
[[nodiscard]] std::size_t hash_digits_in(const std::string& header);

/// The order in a file: by element size, largest first, then by name.
[[nodiscard]] bool stands_before(const WeightsEntry& a, const WeightsEntry& b);

[[nodiscard]] std::string shape_text(at::IntArrayRef shape);

/// Begins the hash of one tensor as hash_tensors does; its bytes follow.
void begin_hash(base::Hasher& hasher, const std::string& name, torch::ScalarType type, at::IntArrayRef shape);

[[nodiscard]] std::int64_t bytes_of_shape(torch::ScalarType type, at::IntArrayRef shape);

/// Rows of a run of 8 MiB, at least one; a tensor without dimensions is one run.
[[nodiscard]] std::int64_t run_rows(torch::ScalarType type, const std::vector<std::int64_t>& shape);

/// Bytes that are no truth values in a tensor of kBool are damage: FileError.
void check_values(const std::filesystem::path& path, const std::string& name, const torch::Tensor& values);

}  // namespace decant::models
