// What a CUDA device says of itself.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace decant::launch {

struct DeviceFacts {
  std::string name{};  // "NVIDIA H100 80GB HBM3", "" for the CPU
  std::string id{};    // tells it from all other devices of all hosts
  std::int64_t free_mib = 0, total_mib = 0;
};

/// Throws ConfigError when the device cannot be used.
[[nodiscard]] DeviceFacts device_facts(const c10::Device& device);

}  // namespace decant::launch
