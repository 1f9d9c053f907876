// Documents with a checksum: manifests of datasets, labels and checkpoints, records of stages. The input is the content; it
// is given the right checksum, which no mutation would find.
#include "base/files.h"
#include "base/hash.h"
#include "tests/fuzz/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace decant;
  std::string text(fuzz::Input(bytes, size).rest());
  constexpr std::string_view kKey = "\"checksum\": \"";
  const auto at = text.rfind(kKey);
  if (at != std::string::npos && at + kKey.size() + 16 <= text.size()) {
    text.replace(at + kKey.size(), 16, 16, '0');
    text.replace(at + kKey.size(), 16, base::hash_hex(text));
  }
  const fuzz::MemoryFile file(text);
  fuzz::answered([&] {
    const auto document = base::load_document(file.path(), "decant-checkpoint", 2);
    fuzz::require(document.is_object() && document.at("format") == "decant-checkpoint");
  });
  return 0;
}
