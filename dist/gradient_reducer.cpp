#include "dist/gradient_reducer.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include "dist/errors.h"

namespace decant::dist {

namespace {

namespace autograd = torch::autograd;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kAlignment = 64;  // bytes: every gradient begins on a cache line of its own

/// One parameter and where its gradient lives.
struct Slot {
  torch::Tensor parameter;
  std::size_t bucket = 0;
  std::int64_t offset = 0;  // elements into the flat buffer
  const void* address = nullptr;
  bool ready = false;                                     // its gradient of the armed backward is complete
  std::shared_ptr<autograd::Node> accumulator = nullptr;  // the tensor itself holds it weakly, and the hook with it
  std::uintptr_t hook = 0;
};

/// Parameters that are exchanged together.
struct Bucket {
  torch::ScalarType type = torch::kFloat32;
  std::int64_t elements = 0;
  std::size_t parameters = 0;
  std::size_t missing = 0;                // gradients that the armed backward still owes
  std::vector<c10::Stream> streams = {};  // on which gradients were accumulated; CUDA only
  std::unique_ptr<Work> work = nullptr;
};

/// How long the caller's stream stood still between begin() and end(), read when both marks have passed: measuring
/// must not make the host wait for the device.
class StreamSpan {
 public:
  explicit StreamSpan(torch::Device device)
      : device_(device),
        begin_(device.type(), c10::EventFlag::BACKEND_DEFAULT),
        end_(device.type(), c10::EventFlag::BACKEND_DEFAULT) {}
  void begin() { begin_.record(current()); }
  void end() { end_.record(current()); }
  [[nodiscard]] bool passed() const { return end_.query(); }
  [[nodiscard]] double seconds() const { return begin_.elapsedTime(end_) / 1000; }

 private:
  [[nodiscard]] c10::Stream current() const { return c10::impl::VirtualGuardImpl(device_.type()).getStream(device_); }

  torch::Device device_;
  c10::Event begin_, end_;
};

class Hook final : public autograd::FunctionPostHook {
 public:
  explicit Hook(std::function<void()> call) : call_(std::move(call)) {}
  autograd::variable_list operator()(const autograd::variable_list& outputs, const autograd::variable_list&) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Bytes of a gradient in its bucket.
std::int64_t padded_bytes(const torch::Tensor& parameter) {
  return (static_cast<std::int64_t>(parameter.nbytes()) + kAlignment - 1) / kAlignment * kAlignment;
}

/// What a bucket may hold, the first one apart.
std::int64_t bucket_limit(const std::vector<torch::Tensor>& parameters, const ReducerOptions& options) {
  constexpr std::int64_t kMostBytes = std::int64_t{25} << 20, kBuckets = 8;
  if (options.bucket_bytes > 0) return static_cast<std::int64_t>(options.bucket_bytes);
  std::int64_t all = 0;
  for (const torch::Tensor& parameter : parameters)
    if (parameter.requires_grad()) all += padded_bytes(parameter);
  return std::max(static_cast<std::int64_t>(options.first_bucket_bytes), std::min(all / kBuckets, kMostBytes));
}

std::int64_t bytes_of(const torch::Tensor& flat) { return static_cast<std::int64_t>(flat.nbytes()); }

}  // namespace

struct GradientReducer::Impl {
  explicit Impl(Communicator& to) : communicator(to), device(to.device()) {}

  void assign(const std::vector<torch::Tensor>& parameters, const ReducerOptions& options);
  void require_same_on_all_ranks();
  void make_buffers();
  void hook(const std::shared_ptr<Impl>& self);
  void alias(Slot& slot);
  void require_alias(const Slot& slot) const;
  void on_gradient(Slot& slot);
  void launch_ready();
  void launch(Bucket& bucket);
  void poll();
  void complete();
  void complete_timed();
  void read_spans();

  Communicator& communicator;
  torch::Device device;
  std::vector<Slot> slots;  // in reverse order of registration, as gradients become ready
  std::vector<Bucket> buckets;
  std::vector<torch::Tensor> flats;
  std::size_t launched = 0;  // buckets launched in this step: always the first ones
  bool armed = false;
  // CPU: the first buckets that are known to be done, and since when one has been on its way.
  std::size_t arrived = 0;
  Clock::time_point busy_since;
  double busy_seconds = 0;
  // Device: of one step at a time, until both have passed.
  std::optional<StreamSpan> wait_span, exchange_span;
  bool measuring = false;
  double exposed_seconds = 0, exchange_seconds = 0;
};

void GradientReducer::Impl::assign(const std::vector<torch::Tensor>& parameters, const ReducerOptions& options) {
  const auto first_limit = static_cast<std::int64_t>(options.first_bucket_bytes);
  const std::int64_t later_limit = bucket_limit(parameters, options);
  for (auto at = parameters.rbegin(); at != parameters.rend(); ++at) {
    const torch::Tensor& parameter = *at;
    if (!parameter.requires_grad()) continue;
    if (parameter.device() != device)
      throw CommError("a parameter is on " + parameter.device().str() + ", its communicator takes " + device.str());
    const auto type = parameter.scalar_type();
    const auto width = static_cast<std::int64_t>(parameter.element_size());
    const std::int64_t padded = padded_bytes(parameter) / width;
    const std::int64_t limit = buckets.size() <= 1 ? first_limit : later_limit;
    const bool fits =
        !buckets.empty() && buckets.back().type == type && (buckets.back().elements + padded) * width <= limit;
    if (!fits) buckets.push_back({.type = type});
    Bucket& bucket = buckets.back();
    slots.push_back({.parameter = parameter, .bucket = buckets.size() - 1, .offset = bucket.elements});
    bucket.elements += padded;
    ++bucket.parameters;
  }
}

/// Buckets are matched by their order alone: ranks that disagree would add gradients of different parameters.
void GradientReducer::Impl::require_same_on_all_ranks() {
  std::string mine;
  for (const Slot& slot : slots)
    mine += std::string(c10::toString(slot.parameter.scalar_type())) + c10::str(slot.parameter.sizes()) + ";";
  const std::vector<std::string> all = communicator.gather_bytes(mine);
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw CommError("ranks 0 and " + std::to_string(rank) +
                      " have different parameters: do all of them have the same job file and data?");
}

void GradientReducer::Impl::make_buffers() {
  for (const Bucket& bucket : buckets)
    flats.push_back(torch::zeros({bucket.elements}, torch::TensorOptions().dtype(bucket.type).device(device)));
  for (Slot& slot : slots) alias(slot);
}

void GradientReducer::Impl::alias(Slot& slot) {
  const torch::Tensor& flat = flats[slot.bucket];
  // set_ and not a view: zero_grad(false) refuses to detach views.
  torch::Tensor gradient = torch::empty({0}, flat.options());
  const auto sizes = slot.parameter.sizes();
  gradient.set_(flat.storage(), slot.offset, sizes, c10::contiguous_strides(sizes));
  slot.parameter.mutable_grad() = gradient;
  slot.address = gradient.const_data_ptr();
}

void GradientReducer::Impl::require_alias(const Slot& slot) const {
  const torch::Tensor& gradient = slot.parameter.grad();
  if (gradient.defined() && gradient.is_alias_of(flats[slot.bucket]) && gradient.const_data_ptr() == slot.address)
    return;
  throw std::logic_error("the gradient of a parameter of shape " + c10::str(slot.parameter.sizes()) +
                         " has left its bucket: beside a GradientReducer nobody may call zero_grad(), set .grad, or "
                         "run backward with create_graph");
}

void GradientReducer::Impl::hook(const std::shared_ptr<Impl>& self) {
  for (Slot& slot : slots) {
    slot.accumulator = autograd::impl::grad_accumulator(slot.parameter);
    // A graph that is kept may outlive the reducer, and its accumulators the hooks' removal.
    slot.hook = slot.accumulator->add_post_hook(std::make_unique<Hook>([weak = std::weak_ptr<Impl>(self), &slot] {
      if (const auto impl = weak.lock()) impl->on_gradient(slot);
    }));
  }
}

void GradientReducer::Impl::on_gradient(Slot& slot) {
  if (!armed) return;
  require_alias(slot);
  if (std::exchange(slot.ready, true))
    throw std::logic_error("GradientReducer: two backward passes after arm(); it goes before the last one only");
  Bucket& bucket = buckets[slot.bucket];
  --bucket.missing;
  if (!device.is_cpu()) {
    // This is autograd's thread. The engine has made the stream current on which this gradient was accumulated.
    const c10::Stream stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
    if (std::find(bucket.streams.begin(), bucket.streams.end(), stream) == bucket.streams.end())
      bucket.streams.push_back(stream);
  }
  launch_ready();
  poll();
}

/// On the CPU nobody else moves the exchange on while backward computes; one test advances every operation.
void GradientReducer::Impl::poll() {
  if (!device.is_cpu() || arrived == launched) return;
  while (arrived < launched && buckets[arrived].work->test()) ++arrived;
  if (arrived == launched) busy_seconds += seconds_since(busy_since);
}

void GradientReducer::Impl::launch_ready() {
  while (launched < buckets.size() && buckets[launched].missing == 0) {
    launch(buckets[launched]);
    ++launched;
  }
}

void GradientReducer::Impl::launch(Bucket& bucket) {
  const torch::Tensor& flat = flats[static_cast<std::size_t>(&bucket - buckets.data())];
  if (!bucket.streams.empty()) {
    // The collective is ordered after the current stream; that one is put after all that wrote into the bucket.
    const c10::Stream current = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
    for (const c10::Stream& stream : bucket.streams) {
      if (stream == current) continue;
      c10::Event written(device.type());
      written.record(stream);
      written.block(current);
    }
  }
  if (device.is_cpu()) {
    if (arrived == launched) busy_since = Clock::now();
  } else if (measuring && launched == 0) {
    exchange_span.emplace(device).begin();
  }
  bucket.work = communicator.all_reduce(flat, Reduce::kSum);
}

/// Takes part in what is left of this step's exchange, so that no other rank is left waiting.
void GradientReducer::Impl::complete() {
  armed = false;
  while (launched < buckets.size()) {
    launch(buckets[launched]);
    ++launched;
  }
  for (Bucket& bucket : buckets) {
    bucket.work->wait();
    bucket.work.reset();
  }
  if (device.is_cpu() && arrived != launched) busy_seconds += seconds_since(busy_since);
  launched = arrived = 0;
}

/// complete(), and how long it made the caller, or the caller's stream, wait.
void GradientReducer::Impl::complete_timed() {
  if (device.is_cpu()) {
    const double before = communicator.waited_seconds();
    complete();
    exposed_seconds = communicator.waited_seconds() - before;
    exchange_seconds = busy_seconds;
    return;
  }
  if (measuring) wait_span.emplace(device).begin();
  complete();
  if (!measuring) return;
  wait_span->end();
  if (exchange_span) exchange_span->end();
}

/// Measures this step when what was measured last has been read.
void GradientReducer::Impl::read_spans() {
  busy_seconds = 0;
  if (wait_span && wait_span->passed() && (!exchange_span || exchange_span->passed())) {
    exposed_seconds = wait_span->seconds();
    exchange_seconds = exchange_span ? exchange_span->seconds() : 0;
    wait_span.reset();
    exchange_span.reset();
  }
  measuring = !device.is_cpu() && !wait_span;
}

GradientReducer::GradientReducer(std::vector<torch::Tensor> parameters, Communicator& communicator,
                                 ReducerOptions options)
    : impl_(std::make_shared<Impl>(communicator)) {
  impl_->assign(parameters, options);
  impl_->require_same_on_all_ranks();
  impl_->make_buffers();
  impl_->hook(impl_);
}

GradientReducer::~GradientReducer() {
  for (const Slot& slot : impl_->slots) slot.accumulator->del_post_hook(slot.hook);
}

void GradientReducer::begin() {
  // A backward that threw has left its exchange half done.
  if (impl_->armed) impl_->complete();
  impl_->read_spans();
  for (const Slot& slot : impl_->slots) impl_->require_alias(slot);
  for (torch::Tensor& flat : impl_->flats) flat.zero_();
}

void GradientReducer::arm() {
  for (Slot& slot : impl_->slots) slot.ready = false;
  for (Bucket& bucket : impl_->buckets) {
    bucket.missing = bucket.parameters;
    bucket.streams.clear();
  }
  impl_->armed = true;
}

ReducerStats GradientReducer::finish() {
  for (const Slot& slot : impl_->slots) impl_->require_alias(slot);
  impl_->complete_timed();
  ReducerStats stats;
  for (const torch::Tensor& flat : impl_->flats) stats.bytes += bytes_of(flat);
  stats.exposed_seconds = impl_->exposed_seconds;
  stats.exchange_seconds = impl_->exchange_seconds;
  return stats;
}

double ReducerStats::hidden() const {
  if (exchange_seconds <= 0) return 1;
  return std::clamp(1 - exposed_seconds / exchange_seconds, 0.0, 1.0);
}

const std::vector<torch::Tensor>& GradientReducer::buckets() const { return impl_->flats; }

}  // namespace decant::dist
