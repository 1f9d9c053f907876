// Histories, a user and his items a line. The first byte of the input chooses what a malformed line does.
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  fuzz::Input input(bytes, size);
  data::ImportOptions options;
  options.on_error = input.choose(2) != 0 ? "skip" : "stop";
  fuzz::read_log(options, input.rest(), data::read_sequences);
  return 0;
}
