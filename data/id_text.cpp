#include "data/id_text.h"

#include <algorithm>

namespace decant::data {

namespace {

/// Bytes of the well-formed UTF-8 character at the start of `text` (Unicode 15, table 3-7), 0 when there is none.
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto within = [&](std::size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return within(1, 0x80, 0xbf) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    // No overlong forms, no surrogates.
    const bool second = within(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf);
    return second && within(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool second = within(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf);
    return second && within(2, 0x80, 0xbf) && within(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string printed_byte(char byte) {
  constexpr char digits[] = "0123456789abcdef";
  const auto bits = static_cast<unsigned char>(byte);
  return {'0', 'x', digits[bits >> 4], digits[bits & 15]};
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  while (!text.empty()) {
    if (out.size() >= most) return out + "...";
    const bool control = static_cast<unsigned char>(text.front()) < 0x20 || text.front() == 0x7f;
    const std::size_t bytes = control ? 0 : character_bytes(text);
    if (bytes == 0)
      out += "\\" + printed_byte(text.front()).substr(1);
    else
      out += text.substr(0, bytes);
    text.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  return out;
}

std::string wrong_with_id(std::string_view text) {
  const auto control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  const auto at = std::find_if(text.begin(), text.end(), control);
  if (at != text.end()) return "an id has a control character (byte " + printed_byte(*at) + ")";
  if (!valid_utf8(text)) return "an id is not valid UTF-8";
  if (text.size() > kMaxIdBytes)
    return "an id has " + std::to_string(text.size()) + " bytes, at most " + std::to_string(kMaxIdBytes) +
           " are allowed";
  return "";
}

}  // namespace decant::data
