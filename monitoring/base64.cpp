#include "monitoring/base64.h"

#include <cstdint>

namespace decant::monitoring {
namespace {

constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

std::string encode(std::string_view bytes, std::string_view last_two) {
  const auto letter = [&](std::uint32_t value) { return value < 62 ? kLetters[value] : last_two[value - 62]; };
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view group = bytes.substr(at, 3);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < group.size() ? static_cast<unsigned char>(group[i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i) out += i <= group.size() ? letter(bits >> (18 - 6 * i) & 63) : '=';
  }
  return out;
}

}  // namespace

std::string base64(std::string_view bytes) { return encode(bytes, "+/"); }
std::string base64_url(std::string_view bytes) { return encode(bytes, "-_"); }

}  // namespace decant::monitoring
