// What an original id may be: UTF-8 without control characters, at most 255 bytes.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace decant::data {

inline constexpr std::size_t kMaxIdBytes = 255;

[[nodiscard]] bool valid_utf8(std::string_view text);

/// "0x1f".
[[nodiscard]] std::string printed_byte(char byte);

/// The text as a message can show it: control characters and bytes that are no UTF-8 as \x1f, cut after `most` bytes.
[[nodiscard]] std::string printable(std::string_view text, std::size_t most = 300);

/// Why the text cannot be an id; empty when it can.
[[nodiscard]] std::string wrong_with_id(std::string_view text);

}  // namespace decant::data
