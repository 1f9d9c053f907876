#include "models/weights_file.h"

#include <span>

#include "base/hash.h"
#include "models/logical_tensor.h"
#include "models/weights_header.h"

namespace decant::models {

namespace {

using base::FileError;
namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

void save_weights(const fs::path& path, const NamedTensors& tensors, std::map<std::string, std::string> metadata) {
  static_cast<void>(save_tensors(path, whole_tensors(tensors), metadata));
}

WeightsFile load_weights(const fs::path& path) {
  WeightsReader reader(path);
  WeightsFile file{{}, reader.header().metadata};
  base::Hasher hasher;
  hasher.add(std::string_view(reader.header().text));
  for (const auto& entry : reader.header().entries) {
    torch::Tensor tensor = torch::empty(entry.shape, torch::dtype(entry.type));
    reader.read(tensor.mutable_data_ptr(), tensor.nbytes());
    hasher.add(bytes_of(tensor));
    check_values(path, entry.name, tensor);
    file.tensors.emplace_back(entry.name, tensor);
  }
  reader.check_hash(hasher.hex());
  return file;
}

void copy_weights(const WeightsFile& file, const fs::path& path, const NamedTensors& targets) {
  std::map<std::string, torch::Tensor> found(file.tensors.begin(), file.tensors.end());
  for (const auto& [name, target] : targets) {
    const auto at = found.find(name);
    if (at == found.end()) throw FileError(path.string(), "it has no tensor '" + name + "'");
    if (at->second.sizes() != target.sizes() || at->second.scalar_type() != target.scalar_type()) {
      throw FileError(path.string(), "tensor '" + name + "' is " + c10::toString(at->second.scalar_type()) +
                                         shape_text(at->second.sizes()) + ", not " +
                                         c10::toString(target.scalar_type()) + shape_text(target.sizes()));
    }
  }
  if (found.size() > targets.size()) {
    for (const auto& [name, target] : targets) found.erase(name);
    throw FileError(path.string(), "it has a tensor '" + found.begin()->first + "' that is not wanted here");
  }
  const torch::NoGradGuard no_grad;
  for (const auto& [name, target] : targets) torch::Tensor(target).copy_(found.at(name));
}

std::string hash_tensors(const NamedTensors& tensors) {
  base::Hasher hasher;
  for (const auto& [name, tensor] : tensors) {
    const torch::Tensor values = tensor.detach().to(torch::kCPU).contiguous();
    hasher.add(std::string_view(name));
    hasher.add(std::string_view(c10::toString(values.scalar_type())));
    hasher.add(std::string_view(shape_text(values.sizes())));
    hasher.add(bytes_of(values));
  }
  return hasher.hex();
}

}  // namespace decant::models
