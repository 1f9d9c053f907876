#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "models/ops/isa.h"
#include "models/ops/tile_backend.h"
#include "models/ops/tile_kernels.h"

namespace decant::models {

namespace isa_baseline {
extern const TileFunctions kTileFunctions;
}
#if defined(__x86_64__)
namespace isa_avx2 {
extern const TileFunctions kTileFunctions;
}
namespace isa_avx512 {
extern const TileFunctions kTileFunctions;
}
#endif

const TileFunctions& tile_functions() {
#if defined(__x86_64__)
  switch (best_isa()) {
    case Isa::kAvx512:
      return isa_avx512::kTileFunctions;
    case Isa::kAvx2:
      return isa_avx2::kTileFunctions;
    case Isa::kBaseline:
      break;
  }
#endif
  return isa_baseline::kTileFunctions;
}

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Entry {
  std::int32_t row, slot, column;  // column within the tile
};

/// Entries bucketed by tile (counting sort, so each bucket keeps the order of rows and slots).
class CpuIdPlan : public IdPlan {
 public:
  CpuIdPlan(const torch::Tensor& ids, std::int64_t width) : width_(width) {
    const std::int64_t rows = ids.size(0), slots = ids.size(1), count = rows * slots;
    const auto held = ids.contiguous();
    const std::int64_t* id = held.data_ptr<std::int64_t>();
    std::int64_t last = 0;
    for (std::int64_t i = 0; i < count; ++i) last = std::max(last, id[i] / width);
    starts_.assign(static_cast<std::size_t>(last + 2), 0);
    for (std::int64_t i = 0; i < count; ++i)
      if (id[i] >= 0) ++starts_[static_cast<std::size_t>(id[i] / width + 1)];
    for (std::size_t t = 1; t < starts_.size(); ++t) starts_[t] += starts_[t - 1];
    entries_.resize(static_cast<std::size_t>(starts_.back()));
    std::vector<std::int64_t> next(starts_.begin(), starts_.end() - 1);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t s = 0; s < slots; ++s) {
        const std::int64_t item = id[r * slots + s];
        if (item < 0) continue;
        auto& at = next[static_cast<std::size_t>(item / width)];
        entries_[static_cast<std::size_t>(at++)] = {static_cast<std::int32_t>(r), static_cast<std::int32_t>(s),
                                                    static_cast<std::int32_t>(item % width)};
      }
  }
  template <class Visit>
  void each(std::int64_t first, Visit visit) const {
    const auto tile = static_cast<std::size_t>(first / width_);
    if (tile + 1 >= starts_.size()) return;
    for (std::int64_t i = starts_[tile]; i < starts_[tile + 1]; ++i) visit(entries_[static_cast<std::size_t>(i)]);
  }

 private:
  std::int64_t width_;
  std::vector<std::int64_t> starts_;
  std::vector<Entry> entries_;
};

std::vector<float> inverses(const std::vector<double>& temperatures) {
  std::vector<float> out;
  for (const double t : temperatures) out.push_back(static_cast<float>(1.0 / t));
  return out;
}

/// A candidate of the k best; `better` orders by value, then by lower id, and makes the heap's front the worst.
struct Scored {
  float value;
  std::int64_t id;
};
bool better(const Scored& a, const Scored& b) { return a.value > b.value || (a.value == b.value && a.id < b.id); }

class CpuTileBackend : public TileBackend {
 public:
  std::unique_ptr<IdPlan> plan(const torch::Tensor& ids, std::int64_t width) const override {
    return std::make_unique<CpuIdPlan>(ids, width);
  }

  void take(const torch::Tensor& tile, std::int64_t first, const IdPlan& plan, torch::Tensor& logits) const override {
    const std::int64_t cols = tile.size(1), slots = logits.size(1);
    const float* from = tile.data_ptr<float>();
    float* to = logits.data_ptr<float>();
    entries(plan).each(first, [&](const Entry& e) { to[e.row * slots + e.slot] = from[e.row * cols + e.column]; });
  }

  void mask(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, std::int64_t excluded) const override {
    const std::int64_t cols = tile.size(1);
    float* to = tile.data_ptr<float>();
    entries(plan).each(first, [&](const Entry& e) {
      if (e.slot < excluded) to[e.row * cols + e.column] = -kInfinity;
    });
  }

  void add(torch::Tensor& tile, std::int64_t first, const IdPlan& plan, const torch::Tensor& grad) const override {
    const std::int64_t cols = tile.size(1), slots = grad.size(1);
    const float* from = grad.data_ptr<float>();
    float* to = tile.data_ptr<float>();
    entries(plan).each(first, [&](const Entry& e) { to[e.row * cols + e.column] += from[e.row * slots + e.slot]; });
  }

  void accumulate(const torch::Tensor& tile, const std::vector<double>& temperatures, LseState& state) const override {
    const auto inv = inverses(temperatures);
    tile_functions().accumulate(tile.data_ptr<float>(), tile.size(0), tile.size(1), inv.data(),
                                static_cast<std::int64_t>(inv.size()), state.max.data_ptr<float>(),
                                state.sums.data_ptr<double>());
  }

  void softmax_grad(torch::Tensor& tile, const std::vector<double>& temperatures, const torch::Tensor& lse,
                    const torch::Tensor& grad) const override {
    const auto inv = inverses(temperatures);
    tile_functions().softmax_grad(tile.data_ptr<float>(), tile.size(0), tile.size(1), inv.data(),
                                  static_cast<std::int64_t>(inv.size()), lse.data_ptr<float>(), grad.data_ptr<float>());
  }

  void count(const torch::Tensor& tile, const torch::Tensor& threshold, torch::Tensor& greater, torch::Tensor& equal,
             torch::Tensor& broken) const override {
    tile_functions().count(tile.data_ptr<float>(), tile.size(0), tile.size(1), threshold.data_ptr<float>(),
                           greater.data_ptr<std::int64_t>(), equal.data_ptr<std::int64_t>(),
                           broken.data_ptr<std::int64_t>());
  }

  void topk(torch::Tensor& tile, std::int64_t first, const std::vector<double>& temperatures, TopKState& best,
            LseState& rest) const override {
    const std::int64_t rows = tile.size(0), cols = tile.size(1);
    std::vector<std::vector<float>> left(static_cast<std::size_t>(rows));
    std::vector<std::int32_t> columns(static_cast<std::size_t>(cols));
    for (std::int64_t r = 0; r < rows; ++r)
      merge_row(tile.data_ptr<float>() + r * cols, cols, first, r, best, columns, left[static_cast<std::size_t>(r)]);
    accumulate(tile, temperatures, rest);
    add_left(left, temperatures, rest);
  }

 private:
  static const CpuIdPlan& entries(const IdPlan& plan) { return static_cast<const CpuIdPlan&>(plan); }

  static void merge_row(float* row, std::int64_t cols, std::int64_t first, std::int64_t r, TopKState& best,
                        std::vector<std::int32_t>& columns, std::vector<float>& left) {
    const std::int64_t k = best.values.size(1);
    float* values = best.values.data_ptr<float>() + r * k;
    std::int64_t* ids = best.ids.data_ptr<std::int64_t>() + r * k;
    std::vector<Scored> heap;
    std::int64_t begin = 0;
    for (std::int64_t i = 0; i < k && ids[i] >= 0; ++i) heap.push_back({values[i], ids[i]});
    if (static_cast<std::int64_t>(heap.size()) < k) {
      while (begin < cols && static_cast<std::int64_t>(heap.size()) < k) {
        heap.push_back({row[begin], first + begin});
        row[begin++] = -kInfinity;
      }
      std::make_heap(heap.begin(), heap.end(), better);
    }
    if (begin == cols) return store(heap, values, ids);
    const std::int64_t found = tile_functions().above(row + begin, cols - begin, heap.front().value, columns.data());
    for (std::int64_t i = 0; i < found; ++i) {
      float& entry = row[begin + columns[static_cast<std::size_t>(i)]];
      if (!(entry > heap.front().value)) continue;
      left.push_back(heap.front().value);
      std::pop_heap(heap.begin(), heap.end(), better);
      heap.back() = {entry, first + begin + columns[static_cast<std::size_t>(i)]};
      std::push_heap(heap.begin(), heap.end(), better);
      entry = -kInfinity;
    }
    if (found > 0 || begin > 0) store(heap, values, ids);
  }

  /// Keeps the heap's own order, so that it is a heap again at the next tile.
  static void store(const std::vector<Scored>& heap, float* values, std::int64_t* ids) {
    for (std::size_t i = 0; i < heap.size(); ++i) {
      values[i] = heap[i].value;
      ids[i] = heap[i].id;
    }
  }

  static void add_left(const std::vector<std::vector<float>>& left, const std::vector<double>& temperatures,
                       LseState& rest) {
    const auto temps = static_cast<std::int64_t>(temperatures.size());
    float* max = rest.max.data_ptr<float>();
    double* sums = rest.sums.data_ptr<double>();
    for (std::size_t r = 0; r < left.size(); ++r) {
      for (const float value : left[r]) {
        if (value == -kInfinity) continue;
        double* row = sums + static_cast<std::int64_t>(r) * temps;
        if (value > max[r]) {
          for (std::int64_t t = 0; t < temps; ++t)
            row[t] *=
                max[r] == -kInfinity ? 0.0 : std::exp((max[r] - value) / temperatures[static_cast<std::size_t>(t)]);
          max[r] = value;
        }
        for (std::int64_t t = 0; t < temps; ++t)
          row[t] += std::exp((value - max[r]) / temperatures[static_cast<std::size_t>(t)]);
      }
    }
  }
};

}  // namespace

#if !defined(DECANT_WITH_CUDA)
const TileBackend& tile_backend(torch::Device device) {
  static const CpuTileBackend cpu;
  return device.is_cpu() ? static_cast<const TileBackend&>(cpu) : aten_tile_backend();
}
#else
const TileBackend& cuda_tile_backend();
const TileBackend& tile_backend(torch::Device device) {
  static const CpuTileBackend cpu;
  if (device.is_cpu()) return cpu;
  return device.is_cuda() ? cuda_tile_backend() : aten_tile_backend();
}
#endif

}  // namespace decant::models
