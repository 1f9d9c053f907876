#include "trainer/blocks.h"

#include <ATen/Parallel.h>

#include <atomic>
#include <exception>
#include <mutex>

namespace decant::trainer {

void for_each_block(std::int64_t blocks, int index, int count, int threads, torch::Device device,
                    const std::function<void(std::int64_t)>& visit) {
  const std::int64_t mine = blocks > index ? (blocks - index + count - 1) / count : 0;
  const torch::NoGradGuard no_grad;
  if (device.is_cuda() || threads <= 1 || mine == 0) {
    for (std::int64_t i = 0; i < mine; ++i) visit(index + i * count);
    return;
  }
  std::exception_ptr failure;
  std::mutex mutex;
  std::atomic<bool> stop{false};
  // Two threads at least, even for one block: LibTorch is serial inside a region only when the region is parallel.
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::int64_t i = 0; i < mine; ++i) {
    if (stop) continue;
    try {
      const torch::NoGradGuard thread_no_grad;
      visit(index + i * count);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  }
  if (failure) std::rethrow_exception(failure);
}

void take_turns(std::int64_t mine, dist::Communicator& communicator, const std::function<void(std::int64_t)>& visit) {
  const torch::NoGradGuard no_grad;
  std::vector<std::int64_t> most{mine};
  communicator.all_reduce_host(most, dist::Reduce::kMax);
  for (std::int64_t i = 0; i < most[0]; ++i) visit(i < mine ? i : -1);
}

OneThread::OneThread(bool on) : before_(on ? at::get_num_threads() : 0) {
  if (before_ > 1) at::set_num_threads(1);
}

OneThread::~OneThread() {
  if (before_ > 1) at::set_num_threads(before_);
}

}  // namespace decant::trainer
