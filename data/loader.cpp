#include "data/loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace decant::data {

struct Loader::Impl {
  Impl(const Dataset& from, const LabelStore* with, const Sampler& by, std::int64_t length, Shard of, Position start,
       std::size_t ahead)
      : dataset(from),
        labels(with),
        sampler(by),
        max_length(length),
        shard(of),
        at(start),
        steps_ahead(std::max<std::size_t>(1, ahead)),
        thread([this] { run(); }) {}
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    thread.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void run();
  void fill();
  [[nodiscard]] Window make(const StepPlan& plan) const;
  void measure(const std::vector<std::int64_t>& cut, Window& window) const;
  [[nodiscard]] Window take();

  const Dataset& dataset;
  const LabelStore* labels;
  const Sampler& sampler;
  const std::int64_t max_length;
  const Shard shard;
  Position at;  // the thread's own
  const std::size_t steps_ahead;

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::deque<Window> ready;
  std::exception_ptr failure;
  double waited = 0;
  std::atomic<bool> stopping = false;  // also looked at between micro-batches, without the lock

  std::thread thread;  // last: starts when all else is there
};

void Loader::Impl::measure(const std::vector<std::int64_t>& cut, Window& window) const {
  window.sequences += static_cast<std::int64_t>(cut.size());
  for (const std::int64_t row : cut) {
    const std::int64_t targets = dataset.training_targets(row, max_length);
    window.targets += targets;
    window.tokens += targets;  // under `last` windows every input has a target
  }
}

Window Loader::Impl::make(const StepPlan& plan) const {
  Window window;
  window.next = plan.next;
  window.ends_epoch = plan.ends_epoch;
  for (const std::vector<std::int64_t>& cut : plan.cuts) {
    measure(cut, window);
    for (const std::vector<std::int64_t>& rows : sampler.share(cut, shard)) {
      if (stopping) return window;
      LabelledBatch& made = window.micro_batches.emplace_back();
      made.batch = dataset.training_batch(rows, max_length);
      if (labels != nullptr) made.labels = labels->read(made.batch);
    }
  }
  return window;
}

void Loader::Impl::fill() {
  while (!stopping) {
    Window window = make(sampler.plan(at));
    at = window.next;
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return stopping || ready.size() < steps_ahead; });
    ready.push_back(std::move(window));
    changed.notify_all();
  }
}

void Loader::Impl::run() {
  try {
    fill();
  } catch (...) {
    const std::lock_guard lock(mutex);
    failure = std::current_exception();
    changed.notify_all();
  }
}

Window Loader::Impl::take() {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return !ready.empty() || failure; });
  waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (ready.empty()) std::rethrow_exception(failure);
  Window window = std::move(ready.front());
  ready.pop_front();
  changed.notify_all();
  return window;
}

Loader::Loader(const Dataset& dataset, const LabelStore* labels, const Sampler& sampler, std::int64_t max_length,
               Shard shard, Position start, std::size_t steps_ahead)
    : impl_(std::make_unique<Impl>(dataset, labels, sampler, max_length, shard, start, steps_ahead)) {}
Loader::~Loader() = default;

Window Loader::next() { return impl_->take(); }

double Loader::waited_seconds() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->waited;
}

}  // namespace decant::data
