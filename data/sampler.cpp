#include "data/sampler.h"

#include <algorithm>
#include <queue>
#include <string>
#include <utility>

#include "base/random.h"

namespace decant::data {

namespace {

constexpr double kHuge = 1e15;

/// What a key is for, so that the draws of one use say nothing of another's.
enum Site : std::uint64_t { kTailSite = 1, kBlockSite = 2, kRowSite = 3 };

/// An epoch's order. Blocks fill slots in permuted order; groups are runs of `group_blocks` slots; rows are permuted
/// within a group. The one block that may be short (the last of the dataset) has a slot of its own drawing, so that
/// the place of every index can be computed.
class Order {
 public:
  Order(std::int64_t rows, std::int64_t block_rows, std::int64_t group_blocks, std::uint64_t key)
      : block_rows_(block_rows),
        full_blocks_(rows / block_rows),
        tail_(rows % block_rows),
        slots_(full_blocks_ + (tail_ > 0 ? 1 : 0)),
        group_blocks_(group_blocks),
        tail_slot_(tail_ > 0 ? below(base::draw(key, kTailSite), slots_) : slots_),
        key_(key),
        blocks_(static_cast<std::uint64_t>(std::max<std::int64_t>(1, full_blocks_)), base::key_of(key, kBlockSite)) {}

  [[nodiscard]] std::int64_t row_at(std::int64_t index) const {
    const std::int64_t group_rows = group_blocks_ * block_rows_;
    const std::int64_t tail_group = tail_slot_ / group_blocks_;
    // Groups behind the short block begin earlier by what it lacks.
    std::int64_t group = index / group_rows;
    if (tail_ > 0 && group >= tail_group) group = (index + missing()) / group_rows;
    const std::int64_t slot = group * group_blocks_;
    const std::int64_t begin = first_row(slot);
    const std::int64_t size = first_row(std::min(slot + group_blocks_, slots_)) - begin;
    const base::Permutation rows(static_cast<std::uint64_t>(size),
                                 base::key_of(key_, kRowSite, static_cast<std::uint64_t>(group)));
    return row_of(begin + static_cast<std::int64_t>(rows(static_cast<std::uint64_t>(index - begin))));
  }

 private:
  static std::int64_t below(std::uint64_t bits, std::int64_t n) {
    return static_cast<std::int64_t>(base::below(bits, static_cast<std::uint64_t>(n)));
  }
  [[nodiscard]] std::int64_t missing() const { return block_rows_ - tail_; }
  /// Rows in the slots before `slot`.
  [[nodiscard]] std::int64_t first_row(std::int64_t slot) const {
    return slot * block_rows_ - (slot > tail_slot_ ? missing() : 0);
  }
  /// The row at a place of the blocks laid end to end.
  [[nodiscard]] std::int64_t row_of(std::int64_t place) const {
    std::int64_t slot = place / block_rows_;
    if (slot >= tail_slot_ && tail_ > 0) {
      const std::int64_t within = place - first_row(tail_slot_);
      if (within < tail_) return full_blocks_ * block_rows_ + within;
      slot = (place + missing()) / block_rows_;
    }
    const std::int64_t full = slot - (slot > tail_slot_ ? 1 : 0);
    const auto block = static_cast<std::int64_t>(blocks_(static_cast<std::uint64_t>(full)));
    return block * block_rows_ + place - first_row(slot);
  }

  std::int64_t block_rows_, full_blocks_, tail_, slots_, group_blocks_, tail_slot_;
  std::uint64_t key_;
  base::Permutation blocks_;
};

}  // namespace

void BatchOptions::describe(base::Fields& fields) {
  fields.integer("sequences", sequences, {1, kHuge}, "sequences of a cut over all ranks");
  fields.integer("tokens", tokens, {0, kHuge}, "input tokens that end a cut before its sequences do; 0: no bound");
  fields.integer("accumulate", accumulate, {1, 1e6}, "cuts whose gradients make one optimiser step");
  fields.integer("rank_tokens", rank_tokens, {0, kHuge}, "tokens a rank takes at once, the rest follows; 0: no bound");
}

Sampler::Sampler(const Dataset& dataset, const BatchOptions& options, std::int64_t max_length, std::uint64_t seed,
                 Fold left_out)
    : dataset_(dataset),
      options_(options),
      max_length_(max_length),
      group_rows_(dataset.cached_rows()),
      block_rows_(dataset.block_rows()),
      seed_(seed),
      left_out_(left_out) {
  if (options.sequences < 1 || options.accumulate < 1 || options.tokens < 0 || options.rank_tokens < 0)
    throw base::ConfigError("batch.sequences and batch.accumulate must be at least 1, the token bounds at least 0");
  for (std::int64_t row = 0; row < rows(); ++row) {
    if (targets(row) > 0) return;
  }
  throw base::ConfigError(
      dataset.info().folder.string() + " has no training target: no user has two events left for training" +
      (left_out.count > 0
           ? " outside of fold " + std::to_string(left_out.index) + " of " + std::to_string(left_out.count)
           : ""));
}

std::int64_t Sampler::rows() const { return dataset_.info().rows; }
std::int64_t Sampler::targets(std::int64_t row) const {
  return left_out_.has(row) ? 0 : dataset_.training_targets(row, max_length_);
}

std::int64_t Sampler::row_at(std::int64_t epoch, std::int64_t index) const {
  if (index < 0 || index >= rows())
    throw base::ConfigError("an epoch has no row " + std::to_string(index) + " of " + std::to_string(rows()));
  const std::int64_t group_blocks = (group_rows_ + block_rows_ - 1) / block_rows_;
  return Order(rows(), block_rows_, group_blocks, base::key_of(seed_, static_cast<std::uint64_t>(epoch))).row_at(index);
}

Position Sampler::settle(Position at) const {
  while (at.row < rows() && targets(row_at(at.epoch, at.row)) == 0) ++at.row;
  // The constructor has seen a row with targets, so the next epoch has one.
  return at.row < rows() ? at : settle({at.epoch + 1, 0});
}

std::vector<std::int64_t> Sampler::cut(Position& at) const {
  std::vector<std::int64_t> taken;
  std::int64_t tokens = 0;
  for (; at.row < rows() && static_cast<std::int64_t>(taken.size()) < options_.sequences; ++at.row) {
    const std::int64_t row = row_at(at.epoch, at.row);
    const std::int64_t added = targets(row);  // under `last` windows, an input each
    if (added == 0) continue;
    if (options_.tokens > 0 && !taken.empty() && tokens + added > options_.tokens) break;
    taken.push_back(row);
    tokens += added;
  }
  return taken;
}

StepPlan Sampler::plan(const Position& at) const {
  if (at.epoch < 0 || at.row < 0) throw base::ConfigError("a position of an epoch is never negative");
  StepPlan plan;
  Position here = settle(at);
  const std::int64_t epoch = here.epoch;
  for (std::int64_t i = 0; i < options_.accumulate && here.epoch == epoch; ++i) {
    plan.cuts.push_back(cut(here));
    here = settle(here);
  }
  plan.ends_epoch = here.epoch != epoch;
  plan.next = plan.ends_epoch ? Position{epoch + 1, 0} : here;
  return plan;
}

std::int64_t Sampler::steps(std::int64_t epoch) const {
  std::int64_t count = 0;
  if (options_.tokens == 0) {
    for (std::int64_t row = 0; row < rows(); ++row) count += targets(row) > 0;
    const std::int64_t cuts = (count + options_.sequences - 1) / options_.sequences;
    return (cuts + options_.accumulate - 1) / options_.accumulate;
  }
  StepPlan plan;
  plan.next = {epoch, 0};
  do {
    plan = this->plan(plan.next);
    ++count;
  } while (!plan.ends_epoch);
  return count;
}

std::vector<std::vector<std::int64_t>> Sampler::share(const std::vector<std::int64_t>& cut, Shard shard) const {
  if (shard.count < 1 || shard.index < 0 || shard.index >= shard.count)
    throw base::ConfigError("there is no shard " + std::to_string(shard.index) + " of " + std::to_string(shard.count));
  std::vector<std::int64_t> order = cut;
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return targets(a) > targets(b); });
  using Load = std::pair<std::int64_t, int>;  // targets dealt so far, shard: the least comes first
  std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
  for (int i = 0; i < shard.count; ++i) loads.push({0, i});
  std::vector<std::vector<std::int64_t>> batches;
  std::int64_t tokens = 0;
  for (const std::int64_t row : order) {
    const auto [load, to] = loads.top();
    loads.pop();
    loads.push({load + targets(row), to});
    if (to != shard.index) continue;
    tokens += targets(row);
    if (batches.empty() || (options_.rank_tokens > 0 && tokens > options_.rank_tokens)) {
      batches.emplace_back();
      tokens = targets(row);
    }
    batches.back().push_back(row);
  }
  return batches;
}

}  // namespace decant::data
