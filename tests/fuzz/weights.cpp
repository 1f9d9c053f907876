// Headers of safetensors files. The input is the header; it is given its length, and some zeros for data.
#include "models/weights_header.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  fuzz::Input input(bytes, size);
  const std::size_t data = input.choose(65);
  const std::uint64_t length = input.rest().size();
  std::string text(reinterpret_cast<const char*>(&length), sizeof length);
  text.append(input.rest()).append(data, '\0');
  const fuzz::MemoryFile file(text);
  fuzz::answered([&] {
    const std::filesystem::path path = file.path();
    const models::WeightsReader reader(path);
    std::uint64_t end = 0;
    for (const auto& entry : reader.header().entries) {
      fuzz::require(entry.begin == end && entry.end >= entry.begin);
      end = entry.end;
    }
    fuzz::require(end == data);
  });
  return 0;
}
