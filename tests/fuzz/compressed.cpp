// gzip and zstd: the same lines whichever way they are read, or an error.
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  const fuzz::MemoryFile file(fuzz::Input(bytes, size).rest());
  constexpr std::size_t kMost = std::size_t{1} << 16;  // a few bytes can stand for gigabytes
  fuzz::answered([&] {
    data::LineReader lines(file.path(), fuzz::kBufferBytes);
    (void)lines.peek(5);
    std::string_view line;
    std::size_t total = 0;
    std::int64_t count = 0;
    while (total < kMost && lines.next(line)) {
      total += line.size() + 1;
      fuzz::require(line.find('\n') == std::string_view::npos && lines.line_number() == ++count);
    }
    fuzz::require(lines.bytes_read() <= static_cast<std::int64_t>(size));
  });
  return 0;
}
