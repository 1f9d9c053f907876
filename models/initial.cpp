#include "models/initial.h"

#include <ATen/CPUGeneratorImpl.h>

#include "base/hash.h"
#include "base/random.h"

namespace decant::models {

namespace {

at::Generator generator(std::uint64_t seed, std::string_view name) {
  base::Hasher hasher;
  hasher.add(name);
  return at::detail::createCPUGenerator(base::key_of(seed, hasher.value()));
}

}  // namespace

torch::Tensor initial_normal(at::IntArrayRef shape, double deviation, std::uint64_t seed, std::string_view name) {
  const torch::NoGradGuard no_grad;
  return torch::empty(shape, torch::kFloat).normal_(0, deviation, generator(seed, name));
}

torch::Tensor initial_uniform(at::IntArrayRef shape, double bound, std::uint64_t seed, std::string_view name) {
  const torch::NoGradGuard no_grad;
  return torch::empty(shape, torch::kFloat).uniform_(-bound, bound, generator(seed, name));
}

}  // namespace decant::models
