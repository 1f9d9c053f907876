// Job files, and the values of --set.
#include "launch/job_file.h"

#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  const std::string text(fuzz::Input(bytes, size).rest());
  fuzz::answered([&] { (void)launch::JobFile::parse(text, "job.yaml"); });
  fuzz::answered([&] { (void)launch::parse_value(text); });
  return 0;
}
