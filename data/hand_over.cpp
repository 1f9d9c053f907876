#include "data/hand_over.h"

#include <array>

#include "data/id_text.h"

namespace decant::data {

namespace {

constexpr std::size_t kMessageBytes = std::size_t{16} << 20;
static_assert(kMaxIdBytes <= 255, "the length of a text is one byte");

}  // namespace

void write_events(ScratchFile& file, std::span<const EventLog::Run> runs, UserEvents& events) {
  const std::array<std::uint64_t, 2> sizes{runs.size(), events.items.size()};
  file.write(std::as_bytes(std::span(sizes)));
  file.write(std::as_bytes(runs));
  events.visit_arrays([&](auto& values) { file.write(std::as_bytes(std::span(values))); });
}

bool read_events(ScratchFile& file, std::vector<EventLog::Run>& runs, UserEvents& events) {
  std::array<std::uint64_t, 2> sizes{};
  if (!file.read_next(std::as_writable_bytes(std::span(sizes)))) return false;
  runs.resize(sizes[0]);
  events.resize_events(sizes[1]);
  file.read(std::as_writable_bytes(std::span(runs)));
  events.visit_arrays([&](auto& values) { file.read(std::as_writable_bytes(std::span(values))); });
  return true;
}

std::string pack_texts(const TextColumn& texts, std::int64_t& next) {
  std::string out(1, '\0');
  while (next < texts.size() && out.size() < kMessageBytes) {
    const std::string_view text = texts.at(next++);
    out.push_back(static_cast<char>(text.size()));
    out.append(text);
  }
  out.front() = next < texts.size() ? '\1' : '\0';
  return out;
}

bool unpack_texts(std::string_view message, StringTable& table, std::vector<std::uint32_t>& numbers) {
  for (std::size_t at = 1; at < message.size();) {
    const std::string_view text = message.substr(at + 1, static_cast<unsigned char>(message[at]));
    numbers.push_back(table.number_of(StringTable::key_of(text)));
    at += 1 + text.size();
  }
  return more_texts(message);
}

}  // namespace decant::data
