// Packed attention and keyed dropout beside what PyTorch offers: padded scaled dot-product attention and its dropout.
// Arguments: sequences, longest sequence, dim, heads. Lengths fall off as in recommendation logs: most are short.
#include <ATen/Parallel.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <benchmark/benchmark.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "models/ops/attention.h"

namespace {

using namespace decant;

struct Batch {
  std::vector<std::int64_t> offsets{0};
  std::int64_t longest = 0, dim = 0, heads = 0;
  torch::Tensor qkv, grad, keys;
  explicit Batch(const benchmark::State& state) : dim(state.range(2)), heads(state.range(3)) {
    for (std::int64_t s = 0; s < state.range(0); ++s) {
      const double u = base::unit(base::draw(1, static_cast<std::uint64_t>(s)));
      const auto length = 1 + static_cast<std::int64_t>(static_cast<double>(state.range(1)) * std::pow(u, 3.6));
      offsets.push_back(offsets.back() + std::min(length, state.range(1)));
      longest = std::max(longest, length);
    }
    torch::manual_seed(0);
    qkv = torch::randn({offsets.back(), 3 * dim}).requires_grad_();
    grad = torch::randn({offsets.back(), dim});
    keys = torch::randint(std::int64_t{1} << 32, {offsets.back()}, torch::kLong);
  }
};

void report(benchmark::State& state, const Batch& batch) {
  state.counters["tokens"] = static_cast<double>(batch.offsets.back());
}

template <class Forward>
void both(benchmark::State& state, const Forward& forward) {
  at::set_num_threads(1);
  Batch batch(state);
  for (auto _ : state) {
    const torch::Tensor out = forward(batch);
    out.backward(batch.grad);
    batch.qkv.mutable_grad().reset();
  }
  report(state, batch);
}

void packed(benchmark::State& state) {
  both(state, [](Batch& b) { return models::packed_attention(b.qkv, b.offsets, b.heads, {}, 0, 0); });
}

void packed_dropout(benchmark::State& state) {
  both(state, [](Batch& b) { return models::packed_attention(b.qkv, b.offsets, b.heads, b.keys, 7, 0.2); });
}

void packed_forward(benchmark::State& state) {
  at::set_num_threads(1);
  const torch::NoGradGuard no_grad;
  Batch batch(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(models::packed_attention(batch.qkv, batch.offsets, batch.heads, {}, 0, 0));
  }
  report(state, batch);
}

void grouped(benchmark::State& state) {
  both(state, [](Batch& b) { return models::grouped_attention(b.qkv, b.offsets, b.heads, {}, 0, 0); });
}

/// Gather into [sequences, longest], attend, scatter back.
void padded_sdpa(benchmark::State& state) {
  at::set_num_threads(1);
  Batch batch(state);
  const auto sequences = static_cast<std::int64_t>(batch.offsets.size()) - 1;
  torch::Tensor sources = torch::zeros({sequences * batch.longest}, torch::kLong);
  torch::Tensor rows = torch::empty({batch.offsets.back()}, torch::kLong);
  for (std::int64_t s = 0; s < sequences; ++s) {
    for (std::int64_t i = batch.offsets[s]; i < batch.offsets[s + 1]; ++i) {
      sources[s * batch.longest + i - batch.offsets[s]] = i;
      rows[i] = s * batch.longest + i - batch.offsets[s];
    }
  }
  for (auto _ : state) {
    const torch::Tensor parts = batch.qkv.index_select(0, sources)
                                    .view({sequences, batch.longest, 3, batch.heads, batch.dim / batch.heads})
                                    .permute({2, 0, 3, 1, 4});
    const torch::Tensor out = at::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0.0, true);
    out.transpose(1, 2).reshape({-1, batch.dim}).index_select(0, rows).backward(batch.grad);
    batch.qkv.mutable_grad().reset();
  }
  report(state, batch);
}

void keyed(benchmark::State& state) {
  at::set_num_threads(1);
  const torch::NoGradGuard no_grad;
  const Batch batch(state);
  for (auto _ : state) benchmark::DoNotOptimize(models::keyed_dropout(batch.qkv, batch.keys, 3, 0.2));
  report(state, batch);
}

void torch_dropout(benchmark::State& state) {
  at::set_num_threads(1);
  const torch::NoGradGuard no_grad;
  const Batch batch(state);
  for (auto _ : state) benchmark::DoNotOptimize(torch::dropout(batch.qkv, 0.2, true));
  report(state, batch);
}

void shapes(benchmark::internal::Benchmark* b) {
  b->Unit(benchmark::kMicrosecond);
  b->Args({128, 24, 64, 2})
      ->Args({128, 50, 256, 4})
      ->Args({128, 24, 8, 2})
      ->Args({32, 200, 64, 2})
      ->Args({4, 1000, 64, 2});
}

BENCHMARK(packed)->Apply(shapes);
BENCHMARK(packed_dropout)->Apply(shapes);
BENCHMARK(packed_forward)->Apply(shapes);
BENCHMARK(grouped)->Apply(shapes);
BENCHMARK(padded_sdpa)->Apply(shapes);
BENCHMARK(keyed)->Args({128, 24, 64, 2});
BENCHMARK(torch_dropout)->Args({128, 24, 64, 2});

}  // namespace
