// What every backend asks of the tensors it is given. Internal to dist.
#pragma once

#include <torch/types.h>

#include <string>

namespace decant::dist {

/// Throws CommError unless `tensor` is contiguous, on `device`, and of a dtype that communicators take.
void check_tensor(const torch::Tensor& tensor, const torch::Device& device, const std::string& operation);

/// check_tensor of both, and that `out` holds `ranks` times `in`.
void check_gather(const torch::Tensor& out, const torch::Tensor& in, int ranks, const torch::Device& device);

}  // namespace decant::dist
