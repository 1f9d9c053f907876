// Fixed blocks of rows over threads: each block is computed whole by one thread, so its bits depend neither on the number
// of threads nor on that of ranks.
#pragma once

#include <cstdint>
#include <functional>

#include <torch/types.h>

#include "dist/communicator.h"

namespace decant::trainer {

/// Calls visit(block) for every block in [0, blocks) with block % count == index. CPU: on `threads` threads, LibTorch
/// serial within each; CUDA: one after the other. Without gradients. The first exception stops the rest and is rethrown.
void for_each_block(std::int64_t blocks, int index, int count, int threads, torch::Device device,
                    const std::function<void(std::int64_t)>& visit);

/// For work that is collective: calls visit(0), visit(1), ... on this thread, `mine` times, then visit(-1) until every rank
/// has made as many calls. Without gradients.
void take_turns(std::int64_t mine, dist::Communicator& communicator, const std::function<void(std::int64_t)>& visit);

/// While it lives LibTorch works on one thread, as inside for_each_block: the same bits.
class OneThread {
 public:
  explicit OneThread(bool on);
  ~OneThread();
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace decant::trainer
