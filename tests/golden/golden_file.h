// What the golden tests share: tensors by name, and differences.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "models/weights_file.h"

namespace decant::golden {

class File {
 public:
  /// tests/golden/data/<name>.safetensors.
  explicit File(const std::string& name) {
    const std::string path = DECANT_SOURCE_DIR "/tests/golden/data/" + name + ".safetensors";
    for (auto& [key, tensor] : models::load_weights(path).tensors) tensors_.emplace(key, tensor);
  }
  [[nodiscard]] const torch::Tensor& operator[](const std::string& name) const {
    const auto at = tensors_.find(name);
    if (at == tensors_.end()) throw std::runtime_error("no golden tensor '" + name + "'");
    return at->second;
  }
  [[nodiscard]] bool has(const std::string& name) const { return tensors_.contains(name); }

 private:
  std::map<std::string, torch::Tensor> tensors_;
};

template <class T>
std::vector<T> values_of(const torch::Tensor& tensor) {
  const auto host = tensor.contiguous();
  return {host.data_ptr<T>(), host.data_ptr<T>() + host.numel()};
}

/// Largest difference; infinities must be the same ones.
inline double difference(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  const auto apart = (a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs().masked_fill(a == b, 0);
  return a.numel() == 0 ? 0 : apart.nan_to_num(std::numeric_limits<double>::infinity()).max().item<double>();
}

/// The same as a share of the largest value wanted, or of `least` where that is more.
inline double relative(const torch::Tensor& a, const torch::Tensor& wanted, double least = 1e-30) {
  return difference(a, wanted) / std::max(least, wanted.numel() == 0 ? 0.0 : wanted.abs().max().item<double>());
}

}  // namespace decant::golden
