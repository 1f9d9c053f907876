// Times in every format. The first byte of the input chooses one.
#include "data/time_text.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  static const data::TimeReader kReaders[] = {data::TimeReader("auto"),           data::TimeReader("seconds"),
                                              data::TimeReader("milliseconds"),   data::TimeReader("iso"),
                                              data::TimeReader("%d/%m/%Y %H:%M"), data::TimeReader("%s %z")};
  fuzz::Input input(bytes, size);
  const auto& reader = kReaders[input.choose(6)];
  const auto time = reader.read(input.rest());
  if (!time) return 0;
  fuzz::require(*time >= data::kFirstTime && *time <= data::kLastTime);
  // To the second, a time comes back from its text.
  const auto again = data::TimeReader("iso").read(data::time_text(*time));
  fuzz::require(again && *again <= *time && *time - *again < 1'000'000);
  return 0;
}
