#include "data/dataset.h"

#include <algorithm>
#include <span>

#include "data/batch_columns.h"
#include "data/dataset_reader.h"

namespace decant::data {

namespace {

/// Appends the window of `history` (all events before the last target) that a model with `max_length` inputs sees.
void add_window(PackedBatch& batch, const UserColumns& columns, std::int64_t row,
                std::span<const std::uint32_t> history, std::int64_t max_length) {
  const std::size_t width = std::min(history.size(), static_cast<std::size_t>(max_length));
  const std::span<const std::uint32_t> window = history.last(width);
  batch.sample_ids.push_back(row);
  batch.window_starts.push_back(static_cast<std::int64_t>(history.size() - width));
  std::vector<std::int64_t>& items = batch.columns.front().values;
  items.insert(items.end(), window.begin(), window.end());
  batch.offsets.push_back(static_cast<std::int64_t>(items.size()));
  columns.add(batch, row, static_cast<std::int64_t>(width));
}

void add_target(PackedBatch& batch, std::int64_t token, std::uint32_t item) {
  batch.target_tokens.push_back(token);
  batch.target_ids.push_back(item);
  batch.target_weights.push_back(1.0F);
}

/// The items of the whole history without the target, distinct and ascending.
void add_seen(PackedBatch& batch, std::span<const std::uint32_t> history, std::uint32_t target) {
  std::vector<std::uint32_t> seen(history.begin(), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  std::erase(seen, target);
  batch.seen_ids.insert(batch.seen_ids.end(), seen.begin(), seen.end());
  batch.seen_offsets.push_back(static_cast<std::int64_t>(batch.seen_ids.size()));
}

PackedBatch empty_batch(const UserColumns& columns) {
  PackedBatch batch;
  batch.offsets.push_back(0);
  batch.columns.push_back({"items", {}});
  columns.begin(batch);
  return batch;
}

void check_max_length(std::int64_t max_length) {
  if (max_length < 1) throw base::ConfigError("a window of " + std::to_string(max_length) + " events holds no input");
}

}  // namespace

const char* name_of(Split split) {
  switch (split) {
    case Split::kTrain:
      return "train";
    case Split::kValid:
      return "valid";
    case Split::kTest:
      return "test";
  }
  return "unknown";
}

struct Dataset::Impl {
  DatasetReader reader;
  UserColumns columns = {};
};

Dataset::Dataset(const fs::path& folder, std::size_t cache_bytes) : impl_(new Impl{{folder, cache_bytes}, {}}) {}
Dataset::~Dataset() = default;

const DatasetInfo& Dataset::info() const { return impl_->reader.info(); }
std::int64_t Dataset::length(std::int64_t row) const { return impl_->reader.length(row); }
std::int64_t Dataset::block_rows() const { return kBlockRows; }
std::int64_t Dataset::cached_rows() const { return impl_->reader.cached_rows(); }
const std::vector<std::int64_t>& Dataset::training_counts() const { return impl_->reader.counts(); }

std::int64_t Dataset::training_targets(std::int64_t row, std::int64_t max_length) const {
  return std::clamp<std::int64_t>(training_length(impl_->reader.length(row)) - 1, 0,
                                  std::max<std::int64_t>(0, max_length));
}

const std::vector<ColumnInfo>& Dataset::columns() const { return impl_->reader.columns(); }
Column Dataset::column(const std::string& full_name) const { return impl_->reader.column(full_name); }

const UserColumns& Dataset::user_columns() const { return impl_->columns; }

TextColumn Dataset::vocabulary(const std::string& full_name) const { return column(full_name).vocabulary; }

void Dataset::keep_columns(const std::vector<std::string>& full_names) {
  std::vector<Column> of_users;
  for (const auto& info : columns())
    if (info.table == "user" && std::find(full_names.begin(), full_names.end(), info.full_name()) != full_names.end())
      of_users.push_back(column(info.full_name()));
  impl_->columns = UserColumns(std::move(of_users));
}

void Dataset::visit_users(const std::function<void(std::int64_t, std::string_view)>& visit) const {
  std::int64_t row = 0;
  for (std::size_t part = 0; part < impl_->reader.parts().size(); ++part) {
    const TextColumn users = impl_->reader.users(part);
    for (std::int64_t i = 0; i < users.size(); ++i) visit(row++, users.at(i));
  }
}

std::string Dataset::item_name(std::int64_t item) const {
  if (item < 0 || item >= info().items)
    throw base::ConfigError("item " + std::to_string(item) + " is not in the catalogue of " +
                            std::to_string(info().items));
  return std::string(impl_->reader.names().at(item));
}

std::vector<std::int64_t> Dataset::training_events(std::int64_t row) const {
  const RowEvents events = impl_->reader.events(row);
  const auto count = training_length(static_cast<std::int64_t>(events.items.size()));
  return {events.items.begin(), events.items.begin() + count};
}

PackedBatch Dataset::training_batch(const std::vector<std::int64_t>& rows, std::int64_t max_length) const {
  check_max_length(max_length);
  PackedBatch batch = empty_batch(impl_->columns);
  for (const std::int64_t row : rows) {
    if (training_targets(row, max_length) == 0) continue;
    const RowEvents events = impl_->reader.events(row);
    const auto training = events.items.first(static_cast<std::size_t>(training_length(length(row))));
    std::int64_t token = batch.tokens();
    add_window(batch, impl_->columns, row, training.first(training.size() - 1), max_length);
    // Every input predicts the event after it.
    const auto targets = training.last(static_cast<std::size_t>(batch.tokens() - token));
    for (const std::uint32_t item : targets) add_target(batch, token++, item);
  }
  return batch;
}

PackedBatch Dataset::evaluation_batch(Split split, std::int64_t first, std::int64_t count,
                                      std::int64_t max_length) const {
  check_max_length(max_length);
  if (split == Split::kTrain) throw base::ConfigError("evaluation takes the valid or the test split");
  PackedBatch batch = empty_batch(impl_->columns);
  batch.seen_offsets.push_back(0);
  const std::int64_t end = std::min(first + count, info().rows);
  for (std::int64_t row = first; row < end; ++row) {
    if (length(row) < 3) continue;  // training only
    const RowEvents events = impl_->reader.events(row);
    const auto at = events.items.size() - (split == Split::kTest ? 1 : 2);
    const auto history = events.items.first(at);
    add_window(batch, impl_->columns, row, history, max_length);
    add_target(batch, batch.tokens() - 1, events.items[at]);
    add_seen(batch, history, events.items[at]);
  }
  return batch;
}

}  // namespace decant::data
