#include "trainer/augment.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "base/random.h"

namespace decant::trainer {
namespace {

constexpr std::uint64_t kSite = 0x61756767;

enum class View { kNone, kCrop, kMask, kReorder };

/// Draws of one row, one after another.
class Draws {
 public:
  explicit Draws(std::uint64_t key) : key_(key) {}
  double unit() { return base::unit(base::draw(key_, count_++)); }
  std::size_t below(std::size_t bound) {
    return static_cast<std::size_t>(base::below(base::draw(key_, count_++), bound));
  }

 private:
  std::uint64_t key_, count_ = 0;
};

View view_of_row(Draws& draws, const AugmentOptions& options) {
  const double row = draws.unit();
  std::vector<View> views;
  if (options.crop > 0) views.push_back(View::kCrop);
  if (options.mask > 0) views.push_back(View::kMask);
  if (options.reorder > 0) views.push_back(View::kReorder);
  return row >= options.rate || views.empty() ? View::kNone : views[draws.below(views.size())];
}

std::size_t share_of(double share, std::size_t events) {
  return static_cast<std::size_t>(std::llround(share * static_cast<double>(events)));
}

/// Fisher and Yates.
void shuffle(std::vector<std::size_t>& order, std::size_t first, std::size_t count, Draws& draws) {
  for (std::size_t i = count; i > 1; --i) std::swap(order[first + i - 1], order[first + draws.below(i)]);
}

/// Which events of a row are left, in their new order.
std::vector<std::size_t> events_of_view(std::size_t events, const AugmentOptions& options, Draws& draws) {
  std::vector<std::size_t> order(events);
  for (std::size_t i = 0; i < events; ++i) order[i] = i;
  const View view = view_of_row(draws, options);
  if (view == View::kNone || events <= 2) return order;
  if (view == View::kReorder) {
    const std::size_t count = std::clamp<std::size_t>(share_of(options.reorder, events), 2, events);
    shuffle(order, draws.below(events - count + 1), count, draws);
    return order;
  }
  const double kept_share = view == View::kCrop ? options.crop : 1 - options.mask;
  const std::size_t kept = std::clamp<std::size_t>(share_of(kept_share, events), 2, events);
  if (view == View::kCrop) {
    const auto first = static_cast<std::ptrdiff_t>(draws.below(events - kept + 1));
    return {order.begin() + first, order.begin() + first + static_cast<std::ptrdiff_t>(kept)};
  }
  shuffle(order, 0, events, draws);
  order.resize(kept);
  std::sort(order.begin(), order.end());
  return order;
}

/// What the user of the row of token `from` has, for `tokens` tokens.
void repeat_user(const data::PackedBatch& batch, std::size_t from, std::size_t tokens, data::PackedBatch& out) {
  for (auto& to : out.columns) {
    if (!to.name.starts_with("user.")) continue;
    const auto& column = batch.column(to.name);
    const auto first = static_cast<std::ptrdiff_t>(from) * column.width;
    for (std::size_t token = 0; token < tokens; ++token)
      if (column.numbers.empty())
        to.values.insert(to.values.end(), column.values.begin() + first, column.values.begin() + first + column.width);
      else
        to.numbers.push_back(column.numbers[from]);
  }
}

}  // namespace

data::PackedBatch augment(const data::PackedBatch& batch, const AugmentOptions& options, std::uint64_t step_key) {
  if (batch.targets() != batch.tokens()) throw std::logic_error("augment: a batch with a target a token");
  const auto& items = batch.columns.front().values;
  data::PackedBatch out;
  out.sample_ids = batch.sample_ids;
  out.window_starts = batch.window_starts;
  out.columns = {{batch.columns.front().name, {}}};
  for (const auto& column : batch.columns)  // what an event has beside its item does not move with it
    if (column.name.starts_with("user.")) out.columns.push_back({column.name, {}, column.width, {}});
  out.offsets = {0};
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.offsets[s]), end = static_cast<std::size_t>(batch.offsets[s + 1]);
    Draws draws(base::key_of(step_key, static_cast<std::uint64_t>(batch.sample_ids[s]), kSite));
    // Event i is the input i; the last one is the last target.
    const auto event = [&](std::size_t i) { return begin + i < end ? items[begin + i] : batch.target_ids[end - 1]; };
    const auto order = end > begin ? events_of_view(end - begin + 1, options, draws) : std::vector<std::size_t>{};
    repeat_user(batch, begin, order.empty() ? 0 : order.size() - 1, out);
    for (std::size_t i = 0; i + 1 < order.size(); ++i) {
      out.columns.front().values.push_back(event(order[i]));
      out.target_tokens.push_back(static_cast<std::int64_t>(out.target_ids.size()));
      out.target_ids.push_back(event(order[i + 1]));
      // A target weighs what its event did; the first event was nobody's target.
      out.target_weights.push_back(batch.target_weights[begin + std::max<std::size_t>(order[i + 1], 1) - 1]);
    }
    out.offsets.push_back(static_cast<std::int64_t>(out.target_ids.size()));
  }
  return out;
}

}  // namespace decant::trainer
