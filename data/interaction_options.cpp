#include "data/interaction_options.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <utility>

#include "data/column.h"
#include "data/time_text.h"

namespace decant::data {

void InteractionOptions::describe(base::Fields& fields) {
  constexpr double kHuge = 1e15;
  RecordOptions::describe(fields);
  fields.text("user", user, "column of the user; of JSON a key, or a pointer such as /customer/id");
  fields.text("item", item, "column of the item");
  fields.text("time", time, "column of the time; empty: the order of the lines is the order of time");
  fields.text("event", event, "column of the kind of event (view, cart, purchase); empty: all are one kind");
  fields.text("rating", rating, "column of a rating; empty: there is none");
  fields.text("quantity", quantity, "column of a quantity, without which (0, or below: returned) an event is dropped");
  fields.text("time_format", time_format,
              "seconds or milliseconds since 1970, iso, a pattern of strptime such as %d/%m/%Y %H:%M, or auto: numbers "
              "are seconds (from 1e11 on milliseconds), other texts iso");
  fields.text("from", from, "events before this time are dropped; as in the log");
  fields.text("until", until, "events at or after this time are dropped");
  fields.texts("keep_events", keep_events, "kinds of events that are kept; empty: all");
  fields.real("min_rating", min_rating, {-kHuge, kHuge}, "events with a lower rating are dropped, where there is one");
  fields.text("missing", missing, "what an event without user, item, time, or another value that is asked for does",
              {"stop", "drop"});
  fields.text("same_event", same_event, "a line with the user, item and time of an earlier one", {"keep", "drop"});
  fields.real("session_gap", session_gap, {0, kHuge},
              "minutes without an event that end a session; each session is then a user of its own; 0: no sessions");
  fields.flag("keep_time", keep_time, "store the time of every event too, 8 bytes each");
  fields.texts(
      "event_weights", event_weights,
      "what an event of a kind counts as a target of training, such as [purchase=1, view=0.2]; other kinds are "
      "then malformed");
  fields.groups("context", context, "further columns that events keep, by name, such as {price: {kind: number}}");
}

void InteractionOptions::check() const {
  const auto refuse = [](const std::string& why) { throw base::ConfigError("'interactions." + why); };
  if (user.empty() || item.empty()) refuse(std::string(user.empty() ? "user" : "item") + "' names no column");
  check_records();
  const TimeReader times(time_format);
  for (const auto& [name, text] : {std::pair("from", &from), {"until", &until}}) {
    if (!text->empty() && time.empty()) refuse(std::string(name) + "' needs a column in 'interactions.time'");
    if (!text->empty() && !times.read(*text))
      refuse(std::string(name) + "' is '" + *text + "', which is no time of the format '" + time_format + "'");
  }
  if (!from.empty() && !until.empty() && !(*times.read(from) < *times.read(until)))
    refuse("from' is '" + from + "', which is not before 'until', '" + until + "'");
  if (min_rating != 0 && rating.empty()) refuse("min_rating' needs a column in 'interactions.rating'");
  if (session_gap > 0 && time.empty()) refuse("session_gap' needs a column in 'interactions.time'");
  if (same_event == "drop" && time.empty()) refuse("same_event: drop' needs a column in 'interactions.time'");
  if (!keep_events.empty() && event.empty()) refuse("keep_events' needs a column in 'interactions.event'");
  if (!event_weights.empty() && event.empty()) refuse("event_weights' needs a column in 'interactions.event'");
  if (keep_time && time.empty()) refuse("keep_time' needs a column in 'interactions.time'");
  (void)weights();
  for (const auto& [name, column] : context) {
    const std::string key = "interactions.context." + name;
    const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-'; };
    if (name == "kind" || name == "weight" || name == "time" || name == kGapName ||
        !std::all_of(name.begin(), name.end(), plain))
      refuse("context' has a column '" + name +
             "': choose another name, of letters, digits, _ and - (not kind, weight, time, gap)");
    column->check(key);
    if (column->kind == "text" || !column->separator.empty())
      refuse("context." + name + "': an event has one category or number of a column");
  }
}

std::map<std::string, float, std::less<>> InteractionOptions::weights() const {
  std::map<std::string, float, std::less<>> out;
  for (const std::string& text : event_weights) {
    const std::size_t equals = text.rfind('=');
    float weight = -1;
    if (equals != std::string::npos) {
      const auto [end, error] = std::from_chars(text.data() + equals + 1, text.data() + text.size(), weight);
      if (error != std::errc() || end != text.data() + text.size()) weight = -1;
    }
    if (!(weight >= 0 && std::isfinite(weight)) || !out.emplace(text.substr(0, equals), weight).second)
      throw base::ConfigError("'interactions.event_weights' has '" + text +
                              "', expected a kind of event and its weight from 0 on, once each: purchase=1");
  }
  return out;
}

}  // namespace decant::data
