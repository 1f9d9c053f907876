// Fixed blocks of rows over threads: each block is computed whole by one thread, so its bits depend neither on the number
// of threads nor on that of ranks.
#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

namespace decant::trainer {

/// Calls visit(block) for every block in [0, blocks) with block % count == index. CPU: on `threads` threads, LibTorch
/// serial within each; CUDA: one after the other. Without gradients. The first exception stops the rest and is rethrown.
void for_each_block(std::int64_t blocks, int index, int count, int threads, torch::Device device,
                    const std::function<void(std::int64_t)>& visit);

}  // namespace decant::trainer
