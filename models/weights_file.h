// Weight files: safetensors (u64 little-endian header length, JSON header, raw bytes; tensors ordered by element size,
// then name, so that nothing needs padding).
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/errors.h"

namespace decant::models {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

struct WeightsFile {
  NamedTensors tensors;  // CPU, contiguous, in the order of their bytes
  std::map<std::string, std::string> metadata;
};

/// Whole or absent. Adds to the metadata "writer": "decant" and "xxh3": of the header (with zeros in this place) and
/// the data bytes. The same content gives the same bytes. Throws FileError.
void save_weights(const std::filesystem::path& path, const NamedTensors& tensors,
                  std::map<std::string, std::string> metadata);

/// Any safetensors file of F64, F32, F16, BF16, integers and BOOL. Checks header and ranges and, in files of ours, the
/// xxh3: damage is a FileError.
[[nodiscard]] WeightsFile load_weights(const std::filesystem::path& path);

/// Copies by name into `targets` (parameters and buffers of a model). Throws FileError naming the first missing or
/// surplus tensor, or the one of another shape or dtype; nothing is copied then.
void copy_weights(const WeightsFile& file, const std::filesystem::path& path, const NamedTensors& targets);

/// Hash of names, shapes, dtypes and bytes.
[[nodiscard]] std::string hash_tensors(const NamedTensors& tensors);

}  // namespace decant::models
