// Columns of events, from what the log has to what the dataset stores.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/column_encoder.h"
#include "data/dataset_writer.h"
#include "data/event_log.h"
#include "data/user_events.h"

namespace decant::data {

/// Learns vocabularies, means and deviations from the training events, then encodes all. The columns are the log's, in
/// their order, and `time` where the events have kept theirs.
class EventEncoder {
 public:
  /// `columns` must outlive it.
  explicit EventEncoder(const std::vector<LogColumn>& columns);

  /// Rows in order; the first `training` events of the row are training's.
  void learn(const UserEvents& block, std::size_t row, std::uint32_t training);
  /// After the last row. `times`: whether the events have them.
  void finish(bool times);
  [[nodiscard]] const std::vector<EventColumn>& columns() const { return out_; }

  /// Encodes a block; values_of() is of its rows until the next one.
  void encode(const UserEvents& block);
  [[nodiscard]] std::span<const EventValues> values_of(const UserEvents& block, std::size_t row);

 private:
  /// Of one column: what training has, and what it made of it.
  struct Learnt {
    std::vector<std::uint64_t> counts;  // of each text
    Moments moments;
    std::int64_t missing = 0;
    std::vector<std::uint32_t> codes;  // of each text
  };
  const std::vector<LogColumn>& columns_;
  std::vector<Learnt> learnt_;
  std::vector<EventColumn> out_;
  std::vector<std::vector<std::uint32_t>> codes_;  // of the block, of each column that is a category
  std::vector<std::vector<float>> numbers_;        // of each other
  std::vector<EventValues> row_;
};

}  // namespace decant::data
