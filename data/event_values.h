// What an event of a log has beside user, item and time: its kind, its weight, and its context.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "data/column_encoder.h"
#include "data/event_log.h"
#include "data/interaction_options.h"
#include "data/record_reader.h"

namespace decant::data {

/// The columns that events of a log keep, in the order of their values: `kind` where several kinds can be left, `weight`,
/// and those of `interactions.context`.
[[nodiscard]] std::vector<LogColumn> event_columns(const InteractionOptions& options);

/// All that is read of a record: what interaction_columns() says, then `interactions.context`.
[[nodiscard]] std::vector<WantedColumn> wanted_columns(const InteractionOptions& options);

/// Reads the values of events. References must outlive it.
class EventValueReader {
 public:
  /// `columns`: of the log, as event_columns() made them.
  EventValueReader(const InteractionOptions& options, std::vector<LogColumn>& columns);
  /// kKeep, kDrop, or kWrong: `wrong` tells why. Cells are in the order of wanted_columns().
  [[nodiscard]] ValueVerdict read(const Record& record, std::string& wrong);
  /// Of the record that was read last.
  [[nodiscard]] std::span<const std::uint32_t> values() const { return values_; }

 private:
  [[nodiscard]] ValueVerdict read_column(LogColumn& column, const Cell& cell, std::uint32_t& value, std::string& wrong);
  [[nodiscard]] ValueVerdict read_weight(const Cell& cell, std::uint32_t& value, std::string& wrong) const;

  std::vector<LogColumn>& columns_;
  std::vector<std::size_t> cells_;  // of each column: its place in a record
  std::map<std::string, float, std::less<>> weights_;
  std::vector<std::uint32_t> values_;
};

}  // namespace decant::data
