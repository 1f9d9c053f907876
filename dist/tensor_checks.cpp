#include "dist/tensor_checks.h"

#include <algorithm>
#include <numeric>

#include "dist/errors.h"

namespace decant::dist {

void check_tensor(const torch::Tensor& tensor, const torch::Device& device, const std::string& operation) {
  const auto refuse = [&](const std::string& why) { throw CommError(operation + ": the tensor " + why); };
  if (!tensor.defined()) refuse("is undefined");
  if (tensor.device() != device) refuse("is on " + tensor.device().str() + ", this communicator takes " + device.str());
  if (!tensor.is_contiguous()) refuse("is not contiguous");
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
    case torch::kFloat64:
    case torch::kInt64:
    case torch::kUInt8:
    case torch::kBFloat16:
      return;
    default:
      refuse(std::string("is of type ") + c10::toString(tensor.scalar_type()) +
             "; float32, float64, int64, uint8 and bfloat16 can be exchanged");
  }
}

void check_reduce(const torch::Tensor& tensor, Reduce op, const torch::Device& device) {
  check_tensor(tensor, device, "all_reduce");
  if (tensor.scalar_type() == torch::kBFloat16 && op != Reduce::kSum)
    throw CommError("all_reduce: tensors of type BFloat16 can be summed only");
}

void check_gather(const torch::Tensor& out, const torch::Tensor& in, int ranks, const torch::Device& device) {
  check_tensor(in, device, "all_gather");
  check_tensor(out, device, "all_gather");
  if (out.scalar_type() != in.scalar_type()) throw CommError("all_gather: `out` and `in` differ in type");
  if (out.numel() != in.numel() * ranks)
    throw CommError("all_gather: `out` has " + std::to_string(out.numel()) + " elements, expected " +
                    std::to_string(ranks) + " times the " + std::to_string(in.numel()) + " of `in`");
}

void check_all_to_all(const torch::Tensor& out, const std::vector<std::int64_t>& out_counts, const torch::Tensor& in,
                      const std::vector<std::int64_t>& in_counts, int ranks, const torch::Device& device) {
  check_tensor(in, device, "all_to_all");
  check_tensor(out, device, "all_to_all");
  if (out.scalar_type() != in.scalar_type()) throw CommError("all_to_all: `out` and `in` differ in type");
  const auto check = [&](const char* name, const torch::Tensor& tensor, const std::vector<std::int64_t>& counts) {
    const std::string what = std::string("all_to_all: the counts of `") + name + "` ";
    if (static_cast<int>(counts.size()) != ranks)
      throw CommError(what + "are " + std::to_string(counts.size()) + " for " + std::to_string(ranks) + " ranks");
    const auto sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    if (sum != tensor.numel() || std::any_of(counts.begin(), counts.end(), [](auto count) { return count < 0; }))
      throw CommError(what + "add up to " + std::to_string(sum) + ", it has " + std::to_string(tensor.numel()) +
                      " elements");
  };
  check("in", in, in_counts);
  check("out", out, out_counts);
}

}  // namespace decant::dist
