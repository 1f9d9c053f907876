// Device and threads of a rank, as all ranks have found them together.
#pragma once

#include <c10/core/Device.h>

#include "launch/session.h"
#include "trainer/job.h"

namespace decant::launch {

struct Setting {
  c10::Device device{c10::kCPU};
  int threads = 1;
};

/// Collective; sets LibTorch's threads too. Throws CommonError: a device that is not there, ranks with and without one,
/// another NCCL than LibTorch's.
[[nodiscard]] Setting choose_setting(const trainer::RunOptions& run, Session& session);

}  // namespace decant::launch
