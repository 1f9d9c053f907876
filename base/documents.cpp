// JSON documents with a checksum. The hash covers every byte of the file, with the checksum's own 16 digits as zeros,
// so that it depends on no program's way of printing JSON and any changed byte is found.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/files.h"
#include "base/hash.h"

namespace decant::base {

namespace {

constexpr std::size_t kDigits = 16;
constexpr std::string_view kZeros = "0000000000000000";
static_assert(kZeros.size() == kDigits);

/// Where the checksum's digits begin, or npos. It is the last key of the document, so the last match is it.
std::size_t find_digits(const std::string& text) {
  constexpr std::string_view kKey = "\"checksum\"";
  std::size_t at = text.rfind(kKey);
  if (at == std::string::npos) return at;
  at = text.find_first_not_of(" \t\r\n:", at + kKey.size());
  if (at == std::string::npos || text[at] != '"' || at + 1 + kDigits >= text.size()) return std::string::npos;
  return text[at + 1 + kDigits] == '"' ? at + 1 : std::string::npos;
}

Json parse_checked(const fs::path& path) {
  std::string text = read_file(path);
  const auto damaged = [&](const std::string& how) { return FileError(path.string(), "is damaged: " + how); };
  Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) throw damaged("it is not a JSON object (" + std::to_string(text.size()) + " bytes)");
  const std::size_t digits = find_digits(text);
  if (digits == std::string::npos) throw damaged("it has no checksum");
  const std::string stored = text.substr(digits, kDigits);
  text.replace(digits, kDigits, kZeros);
  if (stored != hash_hex(text)) throw damaged("its checksum is " + stored + ", its content's is " + hash_hex(text));
  document.erase("checksum");
  return document;
}

}  // namespace

void save_document(const fs::path& path, std::string_view format, int version, Json content) {
  if (!content.is_object()) throw FileError(path.string(), "cannot be written: its content is not a JSON object");
  Json document = Json::object();
  document["format"] = format;
  document["version"] = version;
  for (auto& [key, value] : content.items())
    if (key != "format" && key != "version" && key != "checksum") document[key] = std::move(value);
  document["checksum"] = kZeros;
  std::string text;
  try {
    text = document.dump(1) + "\n";
  } catch (const Json::exception& error) {  // text that is not UTF-8, a file name for instance
    throw FileError(path.string(), std::string("cannot be written as JSON: ") + error.what());
  }
  text.replace(find_digits(text), kDigits, hash_hex(text));
  write_file(path, text);
}

Json load_document(const fs::path& path, std::string_view format, int newest_version) {
  Json document = parse_checked(path);
  const auto text_of = [&](const char* key) { return document.contains(key) ? document[key].dump() : "absent"; };
  if (!document.contains("format") || document["format"] != format)
    throw FileError(path.string(), "its format is " + text_of("format") + ", expected \"" + std::string(format) + "\"");
  if (!document.contains("version") || !document["version"].is_number_integer() || document["version"] < 1)
    throw FileError(path.string(), "its version is " + text_of("version") + ", expected a positive integer");
  if (document["version"] > newest_version)
    throw FileError(path.string(), "it was written by a newer decant (its version is " + text_of("version") +
                                       ", this program reads up to " + std::to_string(newest_version) + ")");
  return document;
}

}  // namespace decant::base
