#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "data/errors.h"
#include "data/id_text.h"
#include "data/import_formats.h"

namespace decant::data {

namespace {

enum Kind : std::uint8_t { kPlain, kBlank, kControl, kHigh };

constexpr std::array<Kind, 256> kKinds = [] {
  std::array<Kind, 256> kinds{};
  for (std::size_t c = 0; c < kinds.size(); ++c)
    kinds[c] = c < 0x20 || c == 0x7f ? kControl : c < 0x80 ? kPlain : kHigh;
  kinds[' '] = kinds['\t'] = kBlank;
  return kinds;
}();

Kind kind_of(char c) { return kKinds[static_cast<unsigned char>(c)]; }

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
      if (kind == kControl) return "a control character (byte " + printed_byte(line[at]) + ")";
      high |= kind == kHigh;
    }
    const std::string_view id = line.substr(begin, at - begin);
    if (high && !valid_utf8(id)) return "an id is not valid UTF-8";
    if (id.size() > kMaxIdBytes)
      return "an id has " + std::to_string(id.size()) + " bytes, at most " + std::to_string(kMaxIdBytes) +
             " are allowed";
    ids.push_back(id);
  }
  if (ids.size() == 1) return "a user has no item";
  return "";
}

/// A log of columns or JSON is easily given to this format.
bool like_a_log(std::string_view line) { return line.find_first_of(",;{") != std::string_view::npos; }

[[noreturn]] void refuse(const ImportSource& source, std::string_view line, const std::string& wrong) {
  throw DataError(source.path.string(), "", source.lines.line_number(),
                  wrong + "; a line is a user and one or more items" +
                      (like_a_log(line) ? "; a log of one event a line is read by '--format interactions'" : "") +
                      " (--on-error skip passes over such lines)");
}

}  // namespace

void read_sequences(const ImportSource& source, EventLog& log, ImportSummary& summary) {
  constexpr std::int64_t kLinesATick = 1024;
  std::string_view line;
  std::vector<std::string_view> ids;
  source.lines.enter_share();
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
      refuse(source, line, wrong);
    }
  }
}

}  // namespace decant::data
