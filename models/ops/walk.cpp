#include "models/ops/walk.h"

#include <ATen/Parallel.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace decant::models {
namespace {

using torch::Tensor;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t kTileElements = std::int64_t{1} << 19;  // 2 MiB of float32: a core's second-level cache
constexpr std::int64_t kCudaTileElements = std::int64_t{1} << 25;

struct Sizes {
  std::int64_t rows, items, chunk, width, tiles, slots;
};

Sizes sizes_of(const Tensor& hidden, const Tensor& weight, const WalkOptions& options) {
  Sizes s{};
  s.rows = hidden.size(0);
  s.items = weight.size(0);
  const bool cpu = hidden.device().is_cpu();
  s.chunk = options.chunk_rows > 0 ? options.chunk_rows : (cpu ? 512 : 4096);
  const std::int64_t budget =
      (cpu ? kTileElements : kCudaTileElements) / std::max<std::int64_t>(1, std::min(s.rows, s.chunk));
  s.width =
      options.tile_items > 0 ? options.tile_items : std::clamp<std::int64_t>(budget / 64 * 64, 256, cpu ? 4096 : 65536);
  s.width = std::min(s.width, std::max<std::int64_t>(1, s.items));
  s.tiles = (s.items + s.width - 1) / s.width;
  // The CPU backend writes disjoint entries, so threads can share one result; the ATen one rewrites whole tensors.
  s.slots = cpu && options.backend == nullptr && !at::in_parallel_region()
                ? std::clamp<std::int64_t>(at::get_num_threads(), 1, s.tiles)
                : 1;
  return s;
}

const TileBackend& backend_of(const Tensor& hidden, const WalkOptions& options) {
  return options.backend ? *options.backend : tile_backend(hidden.device());
}

LseState new_state(std::int64_t rows, std::size_t temperatures, const Tensor& like) {
  return {at::full({rows}, -kInfinity, like.options()),
          at::zeros({rows, static_cast<std::int64_t>(temperatures)}, like.options().dtype(torch::kFloat64))};
}

/// max/T + log(sum), float64; -inf where nothing was added.
Tensor finish_lse(const LseState& state, const std::vector<double>& temperatures) {
  std::vector<double> inverse;
  inverse.reserve(temperatures.size());
  for (const double t : temperatures) inverse.push_back(1.0 / t);
  const auto inv = torch::tensor(inverse, torch::kFloat64).to(state.max.device());
  const auto base = at::where(state.max == -kInfinity, at::zeros_like(state.max), state.max).to(torch::kFloat64);
  return base.unsqueeze(1) * inv + state.sums.log();
}

void merge_state(LseState& into, const LseState& from, const std::vector<double>& temperatures) {
  const auto highest = at::maximum(into.max, from.max);
  const auto base = at::where(highest == -kInfinity, at::zeros_like(highest), highest);
  for (std::size_t t = 0; t < temperatures.size(); ++t) {
    const auto column = static_cast<std::int64_t>(t);
    const auto scale = [&](const LseState& s) {
      return s.sums.select(1, column) * ((s.max - base).to(torch::kFloat64) / temperatures[t]).exp();
    };
    into.sums.select(1, column).copy_(scale(into) + scale(from));
  }
  into.max.copy_(highest);
}

/// Runs visit(slot, first_tile, last_tile) for contiguous ranges of tiles, one thread each; without gradients.
template <class Visit>
void over_slots(const Sizes& s, Visit visit) {
  const auto body = [&](std::int64_t begin, std::int64_t end) {
    const torch::NoGradGuard no_grad;
    for (std::int64_t slot = begin; slot < end; ++slot)
      visit(slot, slot * s.tiles / s.slots, (slot + 1) * s.tiles / s.slots);
  };
  if (s.slots == 1) return body(0, 1);
  at::parallel_for(0, s.slots, 1, body);
}

/// Logits of one tile into a buffer that is used again.
Tensor tile_of(Tensor& buffer, const Tensor& hidden, const Tensor& weight, std::int64_t first, std::int64_t count) {
  auto tile = buffer.narrow(0, 0, hidden.size(0) * count).view({hidden.size(0), count});
  at::mm_out(tile, hidden, weight.narrow(0, first, count).t());
  return tile;
}

/// The same of a search: of the rows from `row` on, which `hidden` holds.
Tensor search_tile(Tensor& buffer, const Tensor& hidden, const Tensor& weight, std::int64_t row, std::int64_t first,
                   std::int64_t count, const WalkOptions& options) {
  if (!options.fill) return tile_of(buffer, hidden, weight, first, count);
  auto tile = buffer.narrow(0, 0, hidden.size(0) * count).view({hidden.size(0), count});
  options.fill(tile, row, first);
  return tile;
}

Tensor new_buffer(const Sizes& s, const Tensor& like) {
  return at::empty({std::min(s.rows, s.chunk) * s.width}, like.options());
}

}  // namespace

WalkResult walk_forward(const Tensor& hidden, const Tensor& weight, const WalkRequest& request,
                        const WalkOptions& options) {
  const Sizes s = sizes_of(hidden, weight, options);
  const TileBackend& backend = backend_of(hidden, options);
  auto logits = at::zeros(request.ids.sizes(), hidden.options());
  std::vector<Tensor> lse;
  for (std::int64_t row = 0; row < s.rows; row += s.chunk) {
    const std::int64_t count = std::min(s.chunk, s.rows - row);
    const auto part = hidden.narrow(0, row, count);
    const auto plan = backend.plan(request.ids.narrow(0, row, count), s.width);
    auto taken = logits.narrow(0, row, count);
    std::vector<LseState> states(static_cast<std::size_t>(s.slots));
    over_slots(s, [&](std::int64_t slot, std::int64_t begin, std::int64_t end) {
      auto buffer = new_buffer(s, hidden);
      auto& state = states[static_cast<std::size_t>(slot)];
      state = new_state(count, request.temperatures.size(), hidden);
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t first = t * s.width;
        auto tile = tile_of(buffer, part, weight, first, std::min(s.width, s.items - first));
        backend.take(tile, first, *plan, taken);
        if (request.temperatures.empty()) continue;
        backend.mask(tile, first, *plan, request.excluded);
        backend.accumulate(tile, request.temperatures, state);
      }
    });
    for (std::size_t slot = 1; slot < states.size(); ++slot) merge_state(states[0], states[slot], request.temperatures);
    lse.push_back(finish_lse(states[0], request.temperatures));
  }
  if (lse.empty())
    lse.push_back(at::zeros({0, static_cast<std::int64_t>(request.temperatures.size())},
                            hidden.options().dtype(torch::kFloat64)));
  return {lse.size() == 1 ? lse[0] : at::cat(lse), logits};
}

WalkGrads walk_backward(const Tensor& hidden, const Tensor& weight, const WalkRequest& request, const Tensor& lse,
                        const Tensor& grad_lse, const Tensor& grad_logits, const WalkOptions& options) {
  const Sizes s = sizes_of(hidden, weight, options);
  const TileBackend& backend = backend_of(hidden, options);
  WalkGrads grads{at::zeros_like(hidden), s.rows > 0 ? at::empty_like(weight) : at::zeros_like(weight)};
  for (std::int64_t row = 0; row < s.rows; row += s.chunk) {
    const std::int64_t count = std::min(s.chunk, s.rows - row);
    const auto rows_of = [&](const Tensor& t) { return t.narrow(0, row, count); };
    const auto part = rows_of(hidden), part_lse = rows_of(lse), part_grad = rows_of(grad_lse);
    const auto part_logits = rows_of(grad_logits);
    const auto plan = backend.plan(rows_of(request.ids), s.width);
    std::vector<Tensor> sums(static_cast<std::size_t>(s.slots));
    over_slots(s, [&](std::int64_t slot, std::int64_t begin, std::int64_t end) {
      auto buffer = new_buffer(s, hidden);
      auto& sum = sums[static_cast<std::size_t>(slot)];
      sum = at::zeros({count, hidden.size(1)}, hidden.options());
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t first = t * s.width, width = std::min(s.width, s.items - first);
        auto tile = tile_of(buffer, part, weight, first, width);
        backend.mask(tile, first, *plan, request.excluded);
        backend.softmax_grad(tile, request.temperatures, part_lse, part_grad);
        backend.add(tile, first, *plan, part_logits);
        auto into = grads.weight.narrow(0, first, width);
        if (row == 0)
          at::mm_out(into, tile.t(), part);
        else
          into.addmm_(tile.t(), part);
        sum.addmm_(tile, weight.narrow(0, first, width));
      }
    });
    auto into = rows_of(grads.hidden);
    for (const auto& sum : sums) into.add_(sum);
  }
  return grads;
}

namespace {

class Walk : public torch::autograd::Function<Walk> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const Tensor& hidden,
                                                const Tensor& weight, const Tensor& ids, std::int64_t excluded,
                                                const std::vector<double>& temperatures, WalkOptions options) {
    auto walked = walk_forward(hidden, weight, {temperatures, ids, excluded}, options);
    walked.lse = walked.lse.to(torch::kFloat32);
    context->save_for_backward({hidden, weight, ids, walked.lse});
    context->saved_data["excluded"] = excluded;
    context->saved_data["temperatures"] = temperatures;
    context->saved_data["sizes"] = std::vector<std::int64_t>{options.tile_items, options.chunk_rows};
    context->saved_data["aten"] = options.backend == &aten_tile_backend();
    return {walked.lse, walked.logits};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto sizes = context->saved_data["sizes"].toIntVector();
    const WalkOptions options{sizes[0], sizes[1],
                              context->saved_data["aten"].toBool() ? &aten_tile_backend() : nullptr};
    const WalkRequest request{context->saved_data["temperatures"].toDoubleVector(), saved[2],
                              context->saved_data["excluded"].toInt()};
    const auto lse_grad = grads[0].defined() ? grads[0].contiguous() : at::zeros_like(saved[3]);
    const auto logit_grad =
        grads[1].defined() ? grads[1].contiguous() : at::zeros(saved[2].sizes(), saved[0].options());
    auto out = walk_backward(saved[0], saved[1], request, saved[3], lse_grad, logit_grad, options);
    return {out.hidden, out.weight, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

/// Counts each row's target against the tiles as they pass; its own entry is taken out of the counts again.
class RankCounter {
 public:
  RankCounter(const TileBackend& backend, const Tensor& own, const Tensor& targets, std::int64_t width)
      : backend_(backend), own_(own.contiguous()), plan_(backend.plan(targets.unsqueeze(1).contiguous(), width)) {
    const auto longs = own_.options().dtype(torch::kInt64);
    greater_ = at::zeros_like(own_, longs), equal_ = at::zeros_like(own_, longs), broken_ = at::zeros_like(own_, longs);
    taken_ = at::full({own_.size(0), 1}, -kInfinity, own_.options());
  }
  void add(const Tensor& tile, std::int64_t first) {
    backend_.count(tile, own_, greater_, equal_, broken_);
    backend_.take(tile, first, *plan_, taken_);
  }
  /// Among all items but the listed ones, whose logits are `without` [rows, m] (-inf: no item) or undefined.
  [[nodiscard]] RankCounts counts(const Tensor& without) const {
    auto all = at::cat({taken_, without.defined() ? without : taken_.narrow(1, 0, 0)}, 1);
    const auto at_row = own_.unsqueeze(1);
    return {greater_ - (all > at_row).sum(1), equal_ - (all == at_row).sum(1), broken_};
  }

 private:
  const TileBackend& backend_;
  Tensor own_, greater_, equal_, broken_, taken_;
  std::unique_ptr<IdPlan> plan_;
};

/// `hidden`, `own` and the request's targets: of the rows from `row` on.
PartTopK topk_chunk(const WalkOptions& options, const Sizes& s, Tensor& buffer, std::int64_t row, const Tensor& hidden,
                    const Tensor& weight, const TopKRequest& request, const Tensor& own) {
  const TileBackend& backend = backend_of(hidden, options);
  const std::int64_t rows = hidden.size(0), k = std::min(request.k, s.items);
  TopKState best{at::full({rows, k}, -kInfinity, hidden.options()),
                 at::full({rows, k}, -1, hidden.options().dtype(torch::kInt64))};
  LseState rest = new_state(rows, request.temperatures.size(), hidden);
  std::unique_ptr<RankCounter> counter;
  if (own.defined()) counter = std::make_unique<RankCounter>(backend, own, request.targets, s.width);
  for (std::int64_t t = 0; t < s.tiles; ++t) {
    const std::int64_t first = t * s.width;
    auto tile = search_tile(buffer, hidden, weight, row, first, std::min(s.width, s.items - first), options);
    if (counter) counter->add(tile, first);
    backend.topk(tile, first, request.temperatures, best, rest);
  }
  const auto order = order_of_best(best.values, best.ids);
  PartTopK out{
      {best.ids.gather(1, order), best.values.gather(1, order), finish_lse(rest, request.temperatures), {}, {}}, {}};
  if (counter) out.counts = counter->counts({});
  return out;
}

/// Rows of everything that a chunk has, one after the other.
template <class Part>
Tensor join(const std::vector<Part>& parts, const std::function<Tensor(const Part&)>& column) {
  if (!column(parts[0]).defined()) return {};
  std::vector<Tensor> rows;
  rows.reserve(parts.size());
  for (const auto& part : parts) rows.push_back(column(part));
  return rows.size() == 1 ? rows[0] : at::cat(rows);
}

template <class Part>
RankCounts join_counts(const std::vector<Part>& parts, const std::function<const RankCounts&(const Part&)>& of) {
  return {join<Part>(parts, [&](const Part& part) { return of(part).greater; }),
          join<Part>(parts, [&](const Part& part) { return of(part).equal; }),
          join<Part>(parts, [&](const Part& part) { return of(part).broken; })};
}

/// visit(first, count) for chunks of rows; once for none.
template <class Visit>
void over_chunks(const Sizes& s, Visit visit) {
  for (std::int64_t row = 0; row == 0 || row < s.rows; row += s.chunk) visit(row, std::min(s.chunk, s.rows - row));
}

/// One entry of a list that is to be ordered.
struct Place {
  float value;
  std::uint64_t id;  // no item (-1) is the highest
  std::int64_t column;
};

/// Not a number comes first, as in a descending sort of LibTorch.
bool stands_before(const Place& a, const Place& b) {
  const bool a_broken = std::isnan(a.value), b_broken = std::isnan(b.value);
  if (a_broken != b_broken) return a_broken;
  if (!a_broken && a.value != b.value) return a.value > b.value;
  return a.id != b.id ? a.id < b.id : a.column < b.column;
}

/// One sort a row: operators would cost a single short row more than its search.
Tensor order_on_host(const Tensor& values, const Tensor& ids) {
  const std::int64_t rows = values.size(0), n = values.size(1);
  auto out = at::empty({rows, n}, ids.options());
  std::vector<Place> places(static_cast<std::size_t>(n));
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* value = values.const_data_ptr<float>() + r * n;
    const std::int64_t* id = ids.const_data_ptr<std::int64_t>() + r * n;
    for (std::int64_t c = 0; c < n; ++c)
      places[static_cast<std::size_t>(c)] = {value[c], static_cast<std::uint64_t>(id[c]), c};
    std::sort(places.begin(), places.end(), stands_before);
    for (std::int64_t c = 0; c < n; ++c)
      out.data_ptr<std::int64_t>()[r * n + c] = places[static_cast<std::size_t>(c)].column;
  }
  return out;
}

}  // namespace

WalkResult walk_catalogue(const Tensor& hidden, const Tensor& weight, const WalkRequest& request,
                          const WalkOptions& options) {
  const auto ids = request.ids.defined() ? request.ids.contiguous()
                                         : at::zeros({hidden.size(0), 0}, hidden.options().dtype(torch::kInt64));
  auto out = Walk::apply(hidden.contiguous(), weight, ids, request.excluded, request.temperatures, options);
  return {out[0], out[1]};
}

Tensor order_of_best(const Tensor& values, const Tensor& ids) {
  if (values.is_cpu() && values.scalar_type() == torch::kFloat32)
    return order_on_host(values.contiguous(), ids.contiguous());
  const auto by_id = std::get<1>(ids.masked_fill(ids < 0, std::numeric_limits<std::int64_t>::max()).sort(1));
  const auto order = std::get<1>(values.gather(1, by_id).sort(/*stable=*/true, 1, /*descending=*/true));
  return by_id.gather(1, order);
}

Tensor rank_of_counts(const RankCounts& counts, const Tensor& own) {
  const auto rank = counts.greater + counts.equal.div(2, "floor");
  return at::where((counts.broken > 0) | own.isnan(), at::full_like(rank, -1), rank);
}

Tensor own_logits(const Tensor& hidden, const Tensor& vectors, const WalkOptions& options) {
  std::vector<Tensor> parts;
  over_chunks(sizes_of(hidden, vectors, options), [&](std::int64_t row, std::int64_t count) {
    parts.push_back(at::mm(hidden.narrow(0, row, count), vectors.narrow(0, row, count).t()).diagonal().contiguous());
  });
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

PartTopK topk_in_part(const Tensor& hidden, const Tensor& weight, const TopKRequest& request, const Tensor& own,
                      const WalkOptions& options) {
  const torch::NoGradGuard no_grad;
  const Sizes s = sizes_of(hidden, weight, options);
  auto buffer = new_buffer(s, hidden);
  std::vector<PartTopK> parts;
  over_chunks(s, [&](std::int64_t row, std::int64_t count) {
    auto asked = request;
    if (own.defined()) asked.targets = request.targets.narrow(0, row, count);
    parts.push_back(topk_chunk(options, s, buffer, row, hidden.narrow(0, row, count).contiguous(), weight, asked,
                               own.defined() ? own.narrow(0, row, count) : own));
  });
  return {{join<PartTopK>(parts, [](const PartTopK& part) { return part.best.ids; }),
           join<PartTopK>(parts, [](const PartTopK& part) { return part.best.logits; }),
           join<PartTopK>(parts, [](const PartTopK& part) { return part.best.rest_lse; }),
           {},
           {}},
          join_counts<PartTopK>(parts, [](const PartTopK& part) -> const RankCounts& { return part.counts; })};
}

TopKResult finish_topk(PartTopK part, const Tensor& own) {
  auto [best, counts] = std::move(part);
  best.rest_lse = best.rest_lse.to(torch::kFloat32);
  if (!own.defined()) return best;
  best.target_logit = own;
  best.target_rank = rank_of_counts(counts, own).to(torch::kFloat32);
  return best;
}

TopKResult topk_catalogue(const Tensor& hidden, const Tensor& weight, const TopKRequest& request,
                          const WalkOptions& options) {
  const torch::NoGradGuard no_grad;
  Tensor own;
  if (request.targets.defined()) own = own_logits(hidden, weight.index_select(0, request.targets), options);
  return finish_topk(topk_in_part(hidden, weight, request, own, options), own);
}

PartRanks count_in_part(const Tensor& hidden, const Tensor& weight, const Tensor& own, const Tensor& targets,
                        const Tensor& seen_ids, const WalkOptions& options) {
  const torch::NoGradGuard no_grad;
  const Sizes s = sizes_of(hidden, weight, options);
  const TileBackend& backend = backend_of(hidden, options);
  auto buffer = new_buffer(s, hidden);
  std::vector<PartRanks> parts;
  over_chunks(s, [&](std::int64_t row, std::int64_t count) {
    const auto part = hidden.narrow(0, row, count).contiguous();
    RankCounter counter(backend, own.narrow(0, row, count), targets.narrow(0, row, count), s.width);
    Tensor seen;
    std::unique_ptr<IdPlan> plan;
    if (seen_ids.defined()) {
      const auto ids = seen_ids.narrow(0, row, count).contiguous();
      seen = at::full(ids.sizes(), -kInfinity, hidden.options());
      plan = backend.plan(ids, s.width);
    }
    for (std::int64_t t = 0; t < s.tiles; ++t) {
      const std::int64_t first = t * s.width;
      const auto tile = search_tile(buffer, part, weight, row, first, std::min(s.width, s.items - first), options);
      counter.add(tile, first);
      if (plan) backend.take(tile, first, *plan, seen);
    }
    parts.push_back({counter.counts({}), plan ? counter.counts(seen) : RankCounts{}});
  });
  return {join_counts<PartRanks>(parts, [](const PartRanks& part) -> const RankCounts& { return part.all; }),
          join_counts<PartRanks>(parts, [](const PartRanks& part) -> const RankCounts& { return part.unseen; })};
}

RankResult rank_in_catalogue(const Tensor& hidden, const Tensor& weight, const Tensor& targets, const Tensor& seen_ids,
                             const WalkOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto own = own_logits(hidden, weight.index_select(0, targets), options);
  const auto counts = count_in_part(hidden, weight, own, targets, seen_ids, options);
  return {rank_of_counts(counts.all, own), seen_ids.defined() ? rank_of_counts(counts.unseen, own) : Tensor()};
}

}  // namespace decant::models
