// Histories for `decant recommend`: text, or JSON with ids or events. The first byte of the input chooses what the import was
// told.
#include "launch/history_line.h"

#include <algorithm>
#include <cmath>

#include "tests/fuzz/support.h"

namespace {

decant::data::HistoryFields fields_of(std::size_t choices) {
  using namespace decant::data;
  InteractionOptions options;
  options.event = "event";
  if ((choices & 1) != 0) options.keep_events = {"view", "cart"};
  if ((choices & 2) != 0) options.time_format = "%d/%m/%Y %H:%M";
  auto& price = options.context.add("price");
  price.kind = "number";
  if ((choices & 4) != 0) price.negative = "drop";
  if ((choices & 8) != 0) price.transform = "log";
  EventColumn kind{{.table = "event", .name = "kind", .kind = "category", .values = kFirstValueCode + 2, .hash = ""},
                   {}};
  for (const char* text : {"view", "cart"}) kind.vocabulary.push_back(text);
  EventColumn number{{.table = "event", .name = "price", .kind = "number", .mean = 2, .deviation = 4, .hash = ""}, {}};
  number.info.transform = price.transform;
  EventColumn gap{{.table = "event", .name = kGapName, .kind = "category", .values = kGapValues, .hash = ""}, {}};
  return {std::move(options), {kind, number, gap}, {"event.kind", "event.price", "event.gap"}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  fuzz::Input input(bytes, size);
  const auto fields = fields_of(input.choose(16));
  const auto line = input.rest();
  std::int64_t asked = 0;
  fuzz::answered([&] {
    const auto history = launch::parse_history(
        line, "histories.txt", 1,
        [&](std::string_view id) {
          ++asked;
          return id.size() % 2 == 0 ? static_cast<std::int64_t>(id.size()) : -1;
        },
        fields);
    const auto& events = history.events;
    fuzz::require(static_cast<std::int64_t>(events.items.size()) + events.unknown == asked);
    for (const auto item : events.items) fuzz::require(item >= 0);
    fuzz::require(events.values.empty() || events.values.size() == fields.columns().size());
    for (const auto& [codes, numbers, times] : events.values) {
      const auto values = codes.size() + numbers.size() + times.size();
      fuzz::require(values == 0 || values == events.items.size());
      for (const auto code : codes) fuzz::require(code < data::kFirstValueCode + 2);
      fuzz::require(std::is_sorted(times.begin(), times.end()));
      for (const auto number : numbers) fuzz::require(std::isfinite(number));
    }
  });
  return 0;
}
