// What every backend asks of the tensors it is given. Internal to dist.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace decant::dist {

/// Throws CommError unless `tensor` is contiguous, on `device`, and of a dtype that communicators take.
void check_tensor(const torch::Tensor& tensor, const torch::Device& device, const std::string& operation);

/// check_tensor, and that its dtype can be reduced by `op`.
void check_reduce(const torch::Tensor& tensor, Reduce op, const torch::Device& device);

/// check_tensor of both, and that `out` holds `ranks` times `in`.
void check_gather(const torch::Tensor& out, const torch::Tensor& in, int ranks, const torch::Device& device);

/// check_tensor of both, a count for each of `ranks`, and that they add up to the tensors' sizes.
void check_all_to_all(const torch::Tensor& out, const std::vector<std::int64_t>& out_counts, const torch::Tensor& in,
                      const std::vector<std::int64_t>& in_counts, int ranks, const torch::Device& device);

}  // namespace decant::dist
