// Histories for `decant recommend`: text or JSON, and lines of items and categories.
#include "launch/history_line.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  const auto line = fuzz::Input(bytes, size).rest();
  std::int64_t asked = 0;
  fuzz::answered([&] {
    const auto history = launch::parse_history(line, "histories.txt", 1, [&](std::string_view id) {
      ++asked;
      return id.size() % 2 == 0 ? static_cast<std::int64_t>(id.size()) : -1;
    });
    fuzz::require(static_cast<std::int64_t>(history.items.size()) + history.unknown == asked);
    for (const auto item : history.items) fuzz::require(item >= 0);
  });
  return 0;
}
