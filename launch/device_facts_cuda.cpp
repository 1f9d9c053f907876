#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdio>

#include "base/errors.h"
#include "launch/device_facts.h"

namespace decant::launch {

namespace {

void check_cuda(cudaError_t result, const c10::Device& device) {
  if (result != cudaSuccess)
    throw base::ConfigError(device.str() + " cannot be used: " + cudaGetErrorString(result) +
                            " (`nvidia-smi` shows the driver's state)");
}

std::string hex(const cudaUUID_t& uuid) {
  std::string out;
  for (const char byte : uuid.bytes) {
    std::array<char, 3> digits{};
    std::snprintf(digits.data(), digits.size(), "%02x", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    out += digits.data();
  }
  return out;
}

}  // namespace

DeviceFacts device_facts(const c10::Device& device) {
  if (!device.is_cuda()) return {};
  const c10::cuda::CUDAGuard guard(device);
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, device.index()), device);
  std::size_t free = 0, total = 0;
  check_cuda(cudaMemGetInfo(&free, &total), device);
  return {properties.name, hex(properties.uuid), static_cast<std::int64_t>(free >> 20),
          static_cast<std::int64_t>(total >> 20)};
}

}  // namespace decant::launch
