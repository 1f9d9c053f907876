// Tensors as they stand in files while they lie elsewhere, in runs of rows: no process needs room for a whole one.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "models/weights_file.h"

namespace decant::models {

struct LogicalTensor {
  /// Is shown a run of rows: CPU, contiguous, [n, ...], or the tensor itself when it has no dimension.
  using Show = std::function<void(const torch::Tensor& rows)>;

  std::string name;
  torch::ScalarType type = torch::kFloat;
  std::vector<std::int64_t> shape;
  /// What lies here: rows first, first + stride, ... A stride of 1: all rows, as on every rank. Else rank r has those that
  /// begin at r % stride.
  torch::Tensor here;
  std::int64_t first = 0, stride = 1;
  /// Shows all rows in order. Where they lie on several ranks it is collective, and rank 0 alone is shown their values.
  std::function<void(const Show& show)> give;
  /// Is given runs of all rows in order, the next beginning at row `first`; copies those that lie here.
  std::function<void(std::int64_t first, const torch::Tensor& rows)> take;
};

/// Of a tensor that lies here whole.
[[nodiscard]] LogicalTensor whole_tensor(std::string name, torch::Tensor tensor);
[[nodiscard]] std::vector<LogicalTensor> whole_tensors(const NamedTensors& tensors);

/// Name -> hash_tensors of that tensor alone.
using TensorHashes = std::map<std::string, std::string>;

/// Writes the bytes that save_weights would. On ranks that do not write (`writes` false) it only takes part where
/// tensors are given together, and returns nothing.
TensorHashes save_tensors(const std::filesystem::path& path, const std::vector<LogicalTensor>& tensors,
                          const std::map<std::string, std::string>& metadata, bool writes = true);

/// Tensors of a file that no target names.
enum class Surplus { kRefused, kPassedOver };

/// Reads a file into `targets`, run by run, with all the checks of load_weights and copy_weights. Names, shapes and dtypes
/// are checked before anything is taken, damage of the data is found after.
TensorHashes load_tensors(const std::filesystem::path& path, const std::vector<LogicalTensor>& targets,
                          Surplus surplus = Surplus::kRefused);

/// The header's metadata; the data is not read.
[[nodiscard]] std::map<std::string, std::string> weights_metadata(const std::filesystem::path& path);

/// Names and shapes of the header; the data is not read.
[[nodiscard]] std::map<std::string, std::vector<std::int64_t>> weights_shapes(const std::filesystem::path& path);

/// hash_tensors of all that load_weights would give.
[[nodiscard]] std::string hash_weights(const std::filesystem::path& path);

}  // namespace decant::models
