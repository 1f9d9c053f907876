// Logical tensors dealt over several files: each rank writes rows of its own, and any number of ranks reads them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "models/logical_tensor.h"

namespace decant::models {

/// Rows first, first + stride, ... of one tensor, which one rank writes.
struct Share {
  std::size_t tensor = 0;  // its place in the list
  int rank = 0;
  std::int64_t first = 0, stride = 1, rows = 0;
};

/// Every row of every tensor once, in the order of `tensors`; the same on every rank. What lies on all ranks is dealt so that
/// they write as many bytes, in runs of at least 1 MiB; of a dealt tensor each rank writes what it has, or, where several
/// have the same rows, its part of them. A tensor without dimensions has one row.
[[nodiscard]] std::vector<Share> deal_rows(const std::vector<LogicalTensor>& tensors, int ranks);

/// The rows of a share that lies on this rank, [rows, ...], a view; the tensor itself when it has no dimension.
[[nodiscard]] torch::Tensor rows_of(const LogicalTensor& tensor, const Share& share);

/// A share in a file: a safetensors file of ours that has it under the tensor's name.
struct TensorPiece {
  std::string file;
  std::int64_t first = 0, stride = 1, rows = 0;
  std::string hash;  // hash_tensors of the piece alone
};

struct PiecedTensor {
  std::string name, type;  // c10::toString
  std::vector<std::int64_t> shape;
  std::vector<TensorPiece> pieces;
};

/// Reads all files of `folder` front to back, and into those `targets` that there are, run by run. Throws FileError naming
/// file and tensor: a target without a tensor or of another shape or dtype, a tensor without a target (unless passed over),
/// rows that no piece has, a file with a tensor of which the list knows nothing, damage.
void load_pieces(const std::filesystem::path& folder, const std::vector<PiecedTensor>& tensors,
                 const std::vector<LogicalTensor>& targets, Surplus surplus = Surplus::kRefused);

}  // namespace decant::models
