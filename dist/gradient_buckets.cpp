#include "dist/gradient_buckets.h"

#include <algorithm>
#include <stdexcept>

#include "dist/errors.h"

namespace decant::dist {

namespace {

constexpr std::int64_t kAlignment = 64;  // bytes: every gradient begins on a cache line of its own

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

void make_alias(GradientSlot& slot, const torch::Tensor& flat) {
  // set_ and not a view: zero_grad(false) refuses to detach views.
  torch::Tensor gradient = at::empty({0}, flat.options());
  const auto sizes = slot.parameter.sizes();
  gradient.set_(flat.storage(), slot.offset, sizes, c10::contiguous_strides(sizes));
  slot.parameter.mutable_grad() = gradient;
  slot.address = gradient.const_data_ptr();
}

}  // namespace

GradientBuckets::GradientBuckets(const std::vector<torch::Tensor>& parameters, torch::Device device,
                                 const ReducerOptions& options) {
  struct Size {
    torch::ScalarType type;
    std::int64_t elements = 0;
  };
  std::vector<Size> sizes;
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
    const std::int64_t limit = sizes.size() <= 1 ? first_limit : later_limit;
    const bool fits = !sizes.empty() && sizes.back().type == type && (sizes.back().elements + padded) * width <= limit;
    if (!fits) {
      sizes.push_back({type});
      counts_.push_back(0);
    }
    slots_.push_back({.parameter = parameter, .bucket = sizes.size() - 1, .offset = sizes.back().elements});
    sizes.back().elements += padded;
    ++counts_.back();
  }
  flats_.reserve(sizes.size());
  for (const Size& size : sizes)
    flats_.push_back(at::zeros({size.elements}, torch::TensorOptions().dtype(size.type).device(device)));
  for (GradientSlot& slot : slots_) make_alias(slot, flats_[slot.bucket]);
}

std::string GradientBuckets::signature() const {
  std::string out;
  for (const GradientSlot& slot : slots_)
    out += std::string(c10::toString(slot.parameter.scalar_type())) + c10::str(slot.parameter.sizes()) + ";";
  return out;
}

void GradientBuckets::require_alias(const GradientSlot& slot, const torch::Tensor& flat) {
  const torch::Tensor& gradient = slot.parameter.grad();
  if (gradient.defined() && gradient.is_alias_of(flat) && gradient.const_data_ptr() == slot.address) return;
  throw std::logic_error("the gradient of a parameter of shape " + c10::str(slot.parameter.sizes()) +
                         " has left its bucket: beside a GradientReducer nobody may call zero_grad(), set .grad, or "
                         "run backward with create_graph");
}

void GradientBuckets::require_aliases() const {
  for (const GradientSlot& slot : slots_) require_alias(slot, flats_[slot.bucket]);
}

}  // namespace decant::dist
