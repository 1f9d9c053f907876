#include "dist/gradient_reducer.h"

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include "dist/errors.h"
#include "dist/exchange_clock.h"
#include "dist/gradient_buckets.h"

namespace decant::dist {

namespace {

namespace autograd = torch::autograd;

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

/// What the reducer keeps of a parameter beside its slot.
struct Watched {
  std::shared_ptr<autograd::Node> accumulator;  // the tensor itself holds it weakly, and the hook with it
  std::uintptr_t hook = 0;
  bool ready = false;  // its gradient of the armed backward is complete
};

/// A bucket's way through one step.
struct Passage {
  std::size_t missing = 0;                // gradients that the armed backward still owes
  std::vector<c10::Stream> streams = {};  // on which gradients were accumulated; CUDA only
  torch::Tensor wire = {};                // what travels: the flat buffer itself, or its rounded copy
  std::unique_ptr<Work> work = nullptr;
};

}  // namespace

struct GradientReducer::Impl {
  Impl(const std::vector<torch::Tensor>& parameters, Communicator& to, const ReducerOptions& options)
      : communicator(to), device(to.device()), buckets(parameters, device, options), clock(device) {
    require_same_on_all_ranks();
    make_wires(options.reduce_dtype);
  }

  void require_same_on_all_ranks();
  void make_wires(torch::ScalarType reduce_dtype);
  void hook(const std::shared_ptr<Impl>& self);
  void on_gradient(std::size_t slot);
  void launch_ready();
  void launch_next();
  void poll();
  void land_next();
  void complete();

  Communicator& communicator;
  torch::Device device;
  GradientBuckets buckets;
  std::vector<Watched> watched;   // by slot
  std::vector<Passage> passages;  // by bucket
  ExchangeClock clock;
  std::size_t launched = 0, landed = 0;  // buckets of this step: always the first ones
  bool armed = false;
};

/// Buckets are matched by their order alone: ranks that disagree would add gradients of different parameters.
void GradientReducer::Impl::require_same_on_all_ranks() {
  const std::vector<std::string> all = communicator.gather_bytes(buckets.signature());
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      throw CommError("ranks 0 and " + std::to_string(rank) +
                      " have different parameters: do all of them have the same job file and data?");
}

void GradientReducer::Impl::make_wires(torch::ScalarType reduce_dtype) {
  if (reduce_dtype != torch::kFloat32 && reduce_dtype != torch::kBFloat16)
    throw CommError(std::string("gradients travel as float32 or bfloat16, not as ") + c10::toString(reduce_dtype));
  for (const torch::Tensor& flat : buckets.flats()) {
    const bool rounds =
        communicator.size() > 1 && flat.scalar_type() == torch::kFloat32 && reduce_dtype != torch::kFloat32;
    passages.push_back({.wire = rounds ? at::empty_like(flat, flat.options().dtype(reduce_dtype)) : flat});
  }
}

void GradientReducer::Impl::hook(const std::shared_ptr<Impl>& self) {
  for (std::size_t slot = 0; slot < buckets.slots().size(); ++slot) {
    auto accumulator = autograd::impl::grad_accumulator(buckets.slots()[slot].parameter);
    // A graph that is kept may outlive the reducer, and its accumulators the hooks' removal.
    const auto handle = accumulator->add_post_hook(std::make_unique<Hook>([weak = std::weak_ptr<Impl>(self), slot] {
      if (const auto impl = weak.lock()) impl->on_gradient(slot);
    }));
    watched.push_back({std::move(accumulator), handle});
  }
}

void GradientReducer::Impl::on_gradient(std::size_t slot) {
  if (!armed) return;
  const std::size_t bucket = buckets.slots()[slot].bucket;
  GradientBuckets::require_alias(buckets.slots()[slot], buckets.flats()[bucket]);
  if (std::exchange(watched[slot].ready, true))
    throw std::logic_error("GradientReducer: two backward passes after arm(); it goes before the last one only");
  Passage& passage = passages[bucket];
  --passage.missing;
  if (!device.is_cpu()) {
    // This is autograd's thread. The engine has made the stream current on which this gradient was accumulated.
    const c10::Stream stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
    if (std::find(passage.streams.begin(), passage.streams.end(), stream) == passage.streams.end())
      passage.streams.push_back(stream);
  }
  launch_ready();
  poll();
}

/// On the CPU nobody else moves the exchange on while backward computes; one test advances every operation.
void GradientReducer::Impl::poll() {
  if (!device.is_cpu()) return;
  while (landed < launched && passages[landed].work->test()) land_next();
}

void GradientReducer::Impl::launch_ready() {
  while (launched < passages.size() && passages[launched].missing == 0) launch_next();
}

void GradientReducer::Impl::launch_next() {
  Passage& passage = passages[launched];
  const torch::Tensor& flat = buckets.flats()[launched];
  if (!passage.streams.empty()) {
    // The collective is ordered after the current stream; that one is put after all that wrote into the bucket.
    const c10::Stream current = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
    for (const c10::Stream& stream : passage.streams) {
      if (stream == current) continue;
      c10::Event written(device.type());
      written.record(stream);
      written.block(current);
    }
  }
  clock.departed();
  if (!passage.wire.is_same(flat)) passage.wire.copy_(flat);
  passage.work = communicator.all_reduce(passage.wire, Reduce::kSum);
  ++launched;
}

/// The sum of the next bucket has come.
void GradientReducer::Impl::land_next() {
  clock.arrived();
  const torch::Tensor &flat = buckets.flats()[landed], &wire = passages[landed].wire;
  if (!wire.is_same(flat)) flat.copy_(wire);
  ++landed;
}

/// Takes part in what is left of this step's exchange, so that no other rank is left waiting.
void GradientReducer::Impl::complete() {
  armed = false;
  while (launched < passages.size()) launch_next();
  for (std::size_t bucket = 0; bucket < passages.size(); ++bucket) {
    passages[bucket].work->wait();
    passages[bucket].work.reset();
    if (bucket == landed) land_next();
  }
  launched = landed = 0;
}

GradientReducer::GradientReducer(std::vector<torch::Tensor> parameters, Communicator& communicator,
                                 ReducerOptions options)
    : impl_(std::make_shared<Impl>(parameters, communicator, options)) {
  impl_->hook(impl_);
}

GradientReducer::~GradientReducer() {
  for (const Watched& watched : impl_->watched) watched.accumulator->del_post_hook(watched.hook);
}

void GradientReducer::begin() {
  // A backward that threw has left its exchange half done.
  if (impl_->armed) impl_->complete();
  impl_->clock.begin_step();
  impl_->buckets.require_aliases();
  for (const torch::Tensor& flat : impl_->buckets.flats()) flat.zero_();
}

void GradientReducer::arm() {
  for (Watched& watched : impl_->watched) watched.ready = false;
  for (std::size_t bucket = 0; bucket < impl_->passages.size(); ++bucket) {
    impl_->passages[bucket].missing = impl_->buckets.counts()[bucket];
    impl_->passages[bucket].streams.clear();
  }
  impl_->armed = true;
}

ReducerStats GradientReducer::finish() {
  impl_->buckets.require_aliases();
  impl_->clock.wait_begins(impl_->communicator.waited_seconds());
  impl_->complete();
  impl_->clock.wait_ends(impl_->communicator.waited_seconds());
  ReducerStats stats;
  for (const Passage& passage : impl_->passages) stats.bytes += static_cast<std::int64_t>(passage.wire.nbytes());
  stats.exposed_seconds = impl_->clock.exposed_seconds();
  stats.exchange_seconds = impl_->clock.exchange_seconds();
  return stats;
}

double ReducerStats::hidden() const {
  if (exchange_seconds <= 0) return 1;
  return std::clamp(1 - exposed_seconds / exchange_seconds, 0.0, 1.0);
}

const std::vector<torch::Tensor>& GradientReducer::buckets() const { return impl_->buckets.flats(); }

}  // namespace decant::dist
