#include "monitoring/event_file.h"

#include <unistd.h>

#include <array>
#include <bit>
#include <climits>
#include <cstdio>
#include <type_traits>

namespace decant::monitoring {
namespace {

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? value >> 1 ^ 0x82f63b78U : value >> 1;
    table[byte] = value;
  }
  return table;
}
constexpr auto kTable = make_table();

template <class Integer>
void append_little(std::string& out, Integer value) {
  for (std::size_t byte = 0; byte < sizeof value; ++byte) out += static_cast<char>(value >> (8 * byte) & 0xff);
}

std::uint32_t masked(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8U; }

// protobuf.dev/programming-guides/encoding
enum WireType : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

void append_key(std::string& out, std::uint32_t field, WireType type) { append_varint(out, field << 3 | type); }

void append_number(std::string& out, std::uint32_t field, std::int64_t value) {
  append_key(out, field, kVarint);
  append_varint(out, static_cast<std::uint64_t>(value));
}

void append_double(std::string& out, std::uint32_t field, double value) {
  append_key(out, field, kFixed64);
  append_little(out, std::bit_cast<std::uint64_t>(value));
}

void append_float(std::string& out, std::uint32_t field, float value) {
  append_key(out, field, kFixed32);
  append_little(out, std::bit_cast<std::uint32_t>(value));
}

void append_bytes(std::string& out, std::uint32_t field, std::string_view bytes) {
  append_key(out, field, kBytes);
  append_varint(out, bytes.size());
  out += bytes;
}

// Numbers of the fields that are used.
namespace event {
constexpr std::uint32_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;
}
namespace session_log {
constexpr std::uint32_t kStatus = 1;
constexpr std::int64_t kStart = 1;
}  // namespace session_log
namespace summary {
constexpr std::uint32_t kValue = 1, kTag = 1, kSimpleValue = 2;
}

std::string head(double wall_time) {
  std::string out;
  append_double(out, event::kWallTime, wall_time);
  return out;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

std::string tf_record(std::string_view bytes) {
  std::string out;
  append_little(out, static_cast<std::uint64_t>(bytes.size()));
  append_little(out, masked(crc32c(out)));
  out += bytes;
  append_little(out, masked(crc32c(bytes)));
  return out;
}

std::string version_event(double wall_time) {
  std::string out = head(wall_time);
  append_bytes(out, event::kFileVersion, "brain.Event:2");
  return out;
}

std::string restart_event(double wall_time, std::int64_t step) {
  std::string out = head(wall_time), log;
  append_number(out, event::kStep, step);
  append_number(log, session_log::kStatus, session_log::kStart);
  append_bytes(out, event::kSessionLog, log);
  return out;
}

std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag, float value) {
  std::string entry, values, out = head(wall_time);
  append_bytes(entry, summary::kTag, tag);
  append_float(entry, summary::kSimpleValue, value);
  append_bytes(values, summary::kValue, entry);
  append_number(out, event::kStep, step);
  append_bytes(out, event::kSummary, values);
  return out;
}

std::string event_file_name(double wall_time, std::uint64_t count) {
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  constexpr long long kMillion = 1'000'000;
  const auto microseconds = static_cast<long long>(wall_time * 1e6);
  std::array<char, HOST_NAME_MAX + 96> name{};
  std::snprintf(name.data(), name.size(), "events.out.tfevents.%010lld.%06lld.%s.%ld.%llu", microseconds / kMillion,
                microseconds % kMillion, host[0] != '\0' ? host.data() : "localhost", static_cast<long>(::getpid()),
                static_cast<unsigned long long>(count));
  return name.data();
}

}  // namespace decant::monitoring
