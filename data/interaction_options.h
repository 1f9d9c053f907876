// How a log of interactions is read: one event a line, in any order.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/column_options.h"
#include "data/record_options.h"

namespace decant::data {

struct InteractionOptions : RecordOptions {
  InteractionOptions() : RecordOptions("interactions") {}
  // Columns; of JSON: keys, or JSON pointers (RFC 6901). Empty: not there.
  std::string user = "user", item = "item", time = "time", event, rating, quantity;
  std::string time_format = "auto";  // see TimeReader
  std::string from, until;           // events at or after, and before; empty: all
  std::vector<std::string> keep_events;
  double min_rating = 0;
  std::string missing = "stop";            // stop | drop: an event without user, item, time or another value
  std::string same_event = "keep";         // keep | drop: the same user, item and time again
  double session_gap = 0;                  // minutes
  bool keep_time = false;                  // store the time of every event
  std::vector<std::string> event_weights;  // "purchase=1": of each kind
  ColumnMap context;                       // further columns that events keep
  /// By kind, of event_weights. Throws ConfigError for what is no such text.
  [[nodiscard]] std::map<std::string, float, std::less<>> weights() const;
  void describe(base::Fields& fields) override;
  /// Throws ConfigError for what no single field can know.
  void check() const;
};

}  // namespace decant::data
