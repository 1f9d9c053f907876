#include "data/dataset.h"

#include <algorithm>
#include <optional>
#include <span>

#include "data/batch_columns.h"
#include "data/dataset_reader.h"
#include "data/event_columns.h"

namespace decant::data {

namespace {

/// Appends the window of `history` (all events before the last target) that a model with `max_length` inputs sees.
void add_window(PackedBatch& batch, std::span<const std::uint32_t> history, std::int64_t row, std::int64_t max_length) {
  const std::size_t width = std::min(history.size(), static_cast<std::size_t>(max_length));
  const std::span<const std::uint32_t> window = history.last(width);
  batch.sample_ids.push_back(row);
  batch.window_starts.push_back(static_cast<std::int64_t>(history.size() - width));
  std::vector<std::int64_t>& items = batch.columns.front().values;
  items.insert(items.end(), window.begin(), window.end());
  batch.offsets.push_back(static_cast<std::int64_t>(items.size()));
}

void add_target(PackedBatch& batch, std::int64_t token, std::uint32_t item, float weight = 1.0F) {
  batch.target_tokens.push_back(token);
  batch.target_ids.push_back(item);
  batch.target_weights.push_back(weight);
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
  Impl(const fs::path& folder, std::size_t cache_bytes) : reader(folder, cache_bytes) {}
  DatasetReader reader;
  std::optional<std::size_t> weights = reader.find_column("event.weight");
  UserColumns of_users = {};
  EventColumns of_events = {};
  std::vector<std::size_t> event_values = {};  // of each of those the reader's column: of the gap that of the time

  [[nodiscard]] PackedBatch empty_batch() const {
    PackedBatch batch;
    batch.offsets.push_back(0);
    batch.columns.push_back({"items", {}});
    of_users.begin(batch);
    of_events.begin(batch);
    return batch;
  }
  /// The window of the row's first events, `history`, and what else the batch has of it.
  void add(PackedBatch& batch, std::int64_t row, std::span<const std::uint32_t> history, std::int64_t max_length) {
    const std::int64_t before = batch.tokens();
    add_window(batch, history, row, max_length);
    const auto width = static_cast<std::size_t>(batch.tokens() - before);
    of_users.add(batch, row, static_cast<std::int64_t>(width));
    for (std::size_t c = 0; c < event_values.size(); ++c)
      of_events.add(batch, c, reader.values(row, event_values[c]), history.size() - width, width);
  }
};

Dataset::Dataset(const fs::path& folder, std::size_t cache_bytes)
    : impl_(std::make_unique<Impl>(folder, cache_bytes)) {}
Dataset::~Dataset() = default;

const DatasetInfo& Dataset::info() const { return impl_->reader.info(); }
std::int64_t Dataset::length(std::int64_t row) const { return impl_->reader.length(row); }
std::int64_t Dataset::block_rows() const { return kBlockRows; }
std::int64_t Dataset::cached_rows() const { return impl_->reader.cached_rows(); }
const std::vector<std::int64_t>& Dataset::training_counts() const { return impl_->reader.counts(); }

const std::vector<ColumnInfo>& Dataset::columns() const { return impl_->reader.columns(); }
std::int64_t Dataset::training_length(std::int64_t row) const { return impl_->reader.split(row).training; }

std::int64_t Dataset::history_length(Split split, std::int64_t row) const {
  if (split == Split::kTrain) throw base::ConfigError("evaluation takes the valid or the test split");
  const RowSplit places = impl_->reader.split(row);
  const std::uint32_t target = split == Split::kTest ? places.test : places.valid;
  return target == kNoTarget ? -1 : static_cast<std::int64_t>(target);
}

std::int64_t Dataset::training_targets(std::int64_t row, std::int64_t max_length) const {
  return std::clamp<std::int64_t>(training_length(row) - 1, 0, std::max<std::int64_t>(0, max_length));
}

TableColumn Dataset::column(const std::string& full_name) const { return impl_->reader.column(full_name); }

const UserColumns& Dataset::user_columns() const { return impl_->of_users; }

TextColumn Dataset::vocabulary(const std::string& full_name) const {
  if (!full_name.starts_with("event.")) return column(full_name).vocabulary;
  const auto at = impl_->reader.find_column(full_name);
  if (!at || full_name == std::string("event.") + kGapName) return {};
  return impl_->reader.vocabulary(*at);
}

void Dataset::keep_columns(const std::vector<std::string>& full_names) {
  std::vector<TableColumn> of_users;
  std::vector<ColumnInfo> of_events;
  std::vector<std::size_t> event_values;
  for (std::size_t c = 0; c < columns().size(); ++c) {
    const ColumnInfo& info = columns()[c];
    if (std::find(full_names.begin(), full_names.end(), info.full_name()) == full_names.end()) continue;
    if (info.table == "user") of_users.push_back(column(info.full_name()));
    if (info.table != "event") continue;
    of_events.push_back(info);
    event_values.push_back(info.name == kGapName ? *impl_->reader.find_column("event.time") : c);
  }
  impl_->of_users = UserColumns(std::move(of_users));
  impl_->of_events = EventColumns(std::move(of_events));
  impl_->event_values = std::move(event_values);
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
  return {events.items.begin(), events.items.begin() + training_length(row)};
}

PackedBatch Dataset::training_batch(const std::vector<std::int64_t>& rows, std::int64_t max_length) const {
  check_max_length(max_length);
  PackedBatch batch = impl_->empty_batch();
  for (const std::int64_t row : rows) {
    if (training_targets(row, max_length) == 0) continue;
    const RowEvents events = impl_->reader.events(row);
    const auto training = events.items.first(static_cast<std::size_t>(training_length(row)));
    std::int64_t token = batch.tokens();
    impl_->add(batch, row, training.first(training.size() - 1), max_length);
    // Every input predicts the event after it.
    const auto targets = static_cast<std::size_t>(batch.tokens() - token);
    const std::size_t first = training.size() - targets;
    for (std::size_t i = first; i < training.size(); ++i) add_target(batch, token++, training[i]);
    if (!impl_->weights) continue;
    const RowValues weights = impl_->reader.values(row, *impl_->weights);
    std::copy_n(weights.numbers.begin() + static_cast<std::ptrdiff_t>(first), targets,
                batch.target_weights.end() - static_cast<std::ptrdiff_t>(targets));
  }
  return batch;
}

PackedBatch Dataset::evaluation_batch(Split split, std::int64_t first, std::int64_t count,
                                      std::int64_t max_length) const {
  check_max_length(max_length);
  if (split == Split::kTrain) throw base::ConfigError("evaluation takes the valid or the test split");
  PackedBatch batch = impl_->empty_batch();
  batch.seen_offsets.push_back(0);
  const std::int64_t end = std::min(first + count, info().rows);
  for (std::int64_t row = first; row < end; ++row) {
    const std::int64_t before = history_length(split, row);
    if (before < 0) continue;
    const RowEvents events = impl_->reader.events(row);
    const auto at = static_cast<std::size_t>(before);
    const auto history = events.items.first(at);
    impl_->add(batch, row, history, max_length);
    add_target(batch, batch.tokens() - 1, events.items[at]);
    add_seen(batch, history, events.items[at]);
  }
  return batch;
}

}  // namespace decant::data
