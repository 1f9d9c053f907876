// Lines of columns as a log of interactions. The first bytes of the input choose options.
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  fuzz::Input input(bytes, size);
  data::ImportOptions options;
  options.format = "interactions";
  auto& own = options.interactions;
  constexpr const char* kSeparators[] = {",", "tab", ";", "::"};
  own.separator = kSeparators[input.choose(4)];
  const auto choices = input.choose(64);
  own.quotes = (choices & 1) != 0;
  own.header = (choices & 2) != 0;
  options.on_error = (choices & 4) != 0 ? "skip" : "stop";
  own.missing = (choices & 8) != 0 ? "drop" : "stop";
  if (!own.header) own.user = "1", own.item = "2", own.time = "3";
  if ((choices & 16) != 0) own.rating = own.header ? "rating" : "4";
  if ((choices & 32) != 0) own.time = "";
  fuzz::read_log(options, input.rest(), data::read_interactions);
  return 0;
}
