// JSON lines as a log of interactions. The first byte of the input chooses options.
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  fuzz::Input input(bytes, size);
  data::ImportOptions options;
  options.format = "interactions";
  auto& own = options.interactions;
  own.lines = "json";
  const auto choices = input.choose(8);
  own.user = (choices & 1) != 0 ? "/user/id" : "user";
  options.on_error = (choices & 2) != 0 ? "skip" : "stop";
  if ((choices & 4) != 0) own.rating = "rating";
  fuzz::read_log(options, input.rest(), data::read_interactions);
  return 0;
}
