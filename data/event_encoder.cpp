#include "data/event_encoder.h"

#include <bit>
#include <cmath>
#include <utility>

namespace decant::data {

EventEncoder::EventEncoder(const std::vector<LogColumn>& columns)
    : columns_(columns), learnt_(columns.size()), codes_(columns.size()), numbers_(columns.size()) {
  for (std::size_t c = 0; c < columns.size(); ++c)
    learnt_[c].counts.resize(static_cast<std::size_t>(columns[c].texts.texts().size()));
}

void EventEncoder::learn(const UserEvents& block, std::size_t row, std::uint32_t training) {
  const std::uint64_t begin = block.offsets[row], end = block.offsets[row + 1];
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    Learnt& learnt = learnt_[c];
    const bool category = columns_[c].info.kind == "category";
    for (std::uint64_t at = begin; at < end; ++at) {
      const std::uint32_t raw = block.columns[c][at];
      const bool missing = category ? raw == kNoText : std::isnan(std::bit_cast<float>(raw));
      learnt.missing += missing;
      if (missing || at >= begin + training) continue;
      if (category)
        ++learnt.counts[raw];
      else
        learnt.moments.add(std::bit_cast<float>(raw));
    }
  }
}

void EventEncoder::finish(bool times) {
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    EventColumn out{columns_[c].info, {}};
    out.info.missing = learnt_[c].missing;
    if (out.info.kind == "category") {
      auto [values, codes] =
          make_vocabulary(columns_[c].texts.texts(), learnt_[c].counts, columns_[c].options.min_count);
      out.info.values = kFirstValueCode + values.size();
      out.vocabulary = std::move(values);
      learnt_[c].codes = std::move(codes);
    }
    if (out.info.kind == "number") {
      out.info.mean = learnt_[c].moments.mean();
      out.info.deviation = learnt_[c].moments.deviation();
    }
    out_.push_back(std::move(out));
  }
  if (!times) return;
  ColumnInfo& time = out_.emplace_back().info;
  time.table = "event", time.name = time.kind = time.role = "time";
}

void EventEncoder::encode(const UserEvents& block) {
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    const auto& raw = block.columns[c];
    const ColumnInfo& info = out_[c].info;
    const bool category = info.kind == "category", number = info.kind == "number";
    codes_[c].resize(category ? raw.size() : 0);
    numbers_[c].resize(category ? 0 : raw.size());
    for (std::size_t i = 0; i < codes_[c].size(); ++i)
      codes_[c][i] = raw[i] == kNoText ? kMissingCode : learnt_[c].codes[raw[i]];
    for (std::size_t i = 0; i < numbers_[c].size(); ++i) {
      const auto value = std::bit_cast<float>(raw[i]);
      numbers_[c][i] = number ? standardised(value, info) : value;
    }
  }
}

std::span<const EventValues> EventEncoder::values_of(const UserEvents& block, std::size_t row) {
  const std::uint64_t begin = block.offsets[row], count = block.offsets[row + 1] - begin;
  row_.assign(out_.size(), {});
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (!codes_[c].empty()) row_[c].codes = std::span(std::as_const(codes_[c])).subspan(begin, count);
    if (!numbers_[c].empty()) row_[c].numbers = std::span(std::as_const(numbers_[c])).subspan(begin, count);
  }
  if (out_.size() > columns_.size()) row_.back().times = std::span(block.times).subspan(begin, count);
  return row_;
}

}  // namespace decant::data
