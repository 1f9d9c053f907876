#include "data/event_columns.h"

namespace decant::data {

namespace {

/// Appends values[first, first + count), or as many times `none` where there are no values.
template <class From, class To>
void append(std::vector<To>& to, std::span<const From> values, std::size_t first, std::size_t count, To none) {
  if (values.empty()) {
    to.insert(to.end(), count, none);
    return;
  }
  const auto part = values.subspan(first, count);
  to.insert(to.end(), part.begin(), part.end());
}

}  // namespace

void EventColumns::begin(PackedBatch& batch) const {
  for (const auto& info : columns_) batch.columns.push_back({info.full_name(), {}});
}

void EventColumns::add(PackedBatch& batch, std::size_t column, const EventValues& row, std::size_t first,
                       std::size_t count) const {
  const ColumnInfo& info = columns_[column];
  auto& to = batch.column(info.full_name());
  if (info.kind == "number") return append(to.numbers, row.numbers, first, count, 0.0F);
  if (info.name != kGapName || row.times.empty())
    return append(to.values, row.codes, first, count, std::int64_t{kMissingCode});
  for (std::size_t i = first; i < first + count; ++i)
    to.values.push_back(i == 0 ? kMissingCode : gap_code(row.times[i - 1], row.times[i]));
}

}  // namespace decant::data
