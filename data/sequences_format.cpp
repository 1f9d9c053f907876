#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "data/errors.h"
#include "data/import_formats.h"

namespace decant::data {

namespace {

constexpr std::size_t kMaxIdBytes = 255;

enum Kind : std::uint8_t { kPlain, kBlank, kControl, kHigh };

constexpr std::array<Kind, 256> kKinds = [] {
  std::array<Kind, 256> kinds{};
  for (std::size_t c = 0; c < kinds.size(); ++c)
    kinds[c] = c < 0x20 || c == 0x7f ? kControl : c < 0x80 ? kPlain : kHigh;
  kinds[' '] = kinds['\t'] = kBlank;
  return kinds;
}();

Kind kind_of(char c) { return kKinds[static_cast<unsigned char>(c)]; }

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

bool valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string printed(unsigned char byte) {
  constexpr char digits[] = "0123456789abcdef";
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

/// Cuts a line into ids. Returns what is wrong with it, empty when nothing is.
std::string split(std::string_view line, std::vector<std::string_view>& ids) {
  ids.clear();
  std::size_t at = 0;
  while (true) {
    while (at < line.size() && kind_of(line[at]) == kBlank) ++at;
    if (at == line.size()) break;
    const std::size_t begin = at;
    bool high = false;
    for (; at < line.size() && kind_of(line[at]) != kBlank; ++at) {
      const Kind kind = kind_of(line[at]);
      if (kind == kControl) return "a control character (byte " + printed(static_cast<unsigned char>(line[at])) + ")";
      high |= kind == kHigh;
    }
    const std::string_view id = line.substr(begin, at - begin);
    if (high && !valid_utf8(id)) return "an id is not valid UTF-8";
    if (id.size() > kMaxIdBytes)
      return "an id has " + std::to_string(id.size()) + " bytes, at most " + std::to_string(kMaxIdBytes) +
             " are allowed";
    ids.push_back(id);
  }
  if (ids.size() == 1) return "user '" + std::string(ids.front()) + "' has no item";
  return "";
}

}  // namespace

void read_sequences(const ImportSource& source, EventLog& log, ImportSummary& summary) {
  constexpr std::int64_t kLinesATick = 1024;
  std::string_view line;
  std::vector<std::string_view> ids;
  while (source.lines.next(line)) {
    if (source.lines.line_number() % kLinesATick == 0) source.tick();
    const std::string wrong = split(line, ids);
    if (wrong.empty() && ids.empty()) continue;
    ++summary.lines;
    if (wrong.empty()) {
      log.add(ids.front(), std::span(ids).subspan(1));
      summary.events_read += static_cast<std::int64_t>(ids.size()) - 1;
    } else if (source.skip_malformed) {
      ++summary.malformed_lines;
    } else {
      throw DataError(source.path.string(), "", source.lines.line_number(),
                      wrong + "; a line is a user and one or more items (--on-error skip passes over such lines)");
    }
  }
}

}  // namespace decant::data
