#include "data/import_plan.h"

#include <algorithm>

namespace decant::data {

namespace {

/// Where a row whose events lie in the order of parts is split. `last`: the target is the last event of its part, else the
/// first.
RowSplit split_parts(std::span<const std::uint8_t> parts, bool last) {
  const auto length = static_cast<std::uint32_t>(parts.size());
  const auto first_of = [&](std::uint8_t part) {
    return static_cast<std::uint32_t>(std::lower_bound(parts.begin(), parts.end(), part) - parts.begin());
  };
  const std::uint32_t valid = first_of(1), test = first_of(2);
  // A target needs an event before it, so that the row's first one is none.
  const auto target = [&](std::uint32_t from, std::uint32_t to) {
    from = std::max(from, 1U);
    if (from >= to) return kNoTarget;
    return last ? to - 1 : from;
  };
  return {valid, target(valid, test), target(test, length)};
}

}  // namespace

ImportPlan::ImportPlan(const std::string& split, EventBlocks& events, EventLog& log,
                       const std::vector<std::uint64_t>& counts, ImportSummary& summary)
    : split_(split), events_(events), log_(log), encoder_(log.columns()) {
  number_items(counts);
  bool times = false;
  events_.visit([&](const UserEvents& block) {
    times |= block.shape.times;
    for (std::size_t row = 0; row < block.size(); ++row) plan_row(block, row, summary);
  });
  encoder_.finish(times);
  summary.users = events.rows();
  summary.items = items_.size();
  summary.events = events.events();
  for (std::size_t item = 0; item < tests_.size(); ++item)
    if (training_[item] == 0) summary.cold_test_targets += tests_[item];
}

void ImportPlan::number_items(const std::vector<std::uint64_t>& counts) {
  number_.resize(counts.size());
  for (std::size_t item = 0; item < counts.size(); ++item) {
    if (counts[item] == 0) continue;
    number_[item] = static_cast<std::uint32_t>(items_.size());
    items_.push_back(log_.items().at(static_cast<std::int64_t>(item)));
  }
  training_.resize(static_cast<std::size_t>(items_.size()));
  tests_.resize(training_.size());
}

RowSplit ImportPlan::split_of(const UserEvents& block, std::size_t row) const {
  const std::uint64_t begin = block.offsets[row], length = block.offsets[row + 1] - begin;
  if (split_ == kLeaveLastOut) return leave_last_out(static_cast<std::uint32_t>(length));
  return split_parts(std::span(block.parts).subspan(begin, length), split_ == kGiven);
}

void ImportPlan::plan_row(const UserEvents& block, std::size_t row, ImportSummary& summary) {
  const auto items = block.items_of(row);
  const RowSplit split = split_of(block, row);
  for (const std::uint32_t item : items.first(split.training)) ++training_[number_[item]];
  if (split.test != kNoTarget) ++tests_[number_[items[split.test]]];
  summary.valid_targets += split.valid != kNoTarget;
  summary.test_targets += split.test != kNoTarget;
  summary.training_only_users += split.valid == kNoTarget && split.test == kNoTarget;
  encoder_.learn(block, row, split.training);
  if (parts_.empty() || parts_.back().rows == kPartRows) parts_.emplace_back();
  ++parts_.back().rows;
  parts_.back().events += static_cast<std::int64_t>(items.size());
  parts_.back().name_bytes += static_cast<std::int64_t>(name_of(block.rows[row]).size());
}

std::string ImportPlan::name_of(const RowName& row) const {
  std::string name(log_.users().at(row.user));
  if (row.session > 0) name += "#" + std::to_string(row.session);
  return name;
}

ImportPlan::Users ImportPlan::users() {
  Users out;
  events_.visit([&](const UserEvents& block) {
    for (std::size_t row = 0; row < block.size(); ++row) {
      out.ids.push_back(name_of(block.rows[row]));
      out.training.push_back(split_of(block, row).training);
    }
  });
  return out;
}

void ImportPlan::write(const fs::path& folder, const std::vector<TableColumn>& columns, const base::Json& import,
                       const std::function<void(const char*)>& at) {
  DatasetWriter writer(folder, {kPartRows, parts_, split_, encoder_.columns()});
  std::vector<std::uint32_t> items;
  events_.visit([&](const UserEvents& block) {
    encoder_.encode(block);
    for (std::size_t row = 0; row < block.size(); ++row) {
      items.clear();
      for (const std::uint32_t item : block.items_of(row)) items.push_back(number_[item]);
      writer.add(name_of(block.rows[row]), items, split_of(block, row), encoder_.values_of(block, row));
    }
  });
  writer.finish(items_, training_, columns, import, at);
}

}  // namespace decant::data
