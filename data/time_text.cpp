#include "data/time_text.h"

#include <ctime>

#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

#include "base/errors.h"

namespace decant::data {

namespace {

constexpr Micros kSecond = 1'000'000, kMinute = 60 * kSecond, kHour = 60 * kMinute;
constexpr std::int64_t kMaxSeconds = 9'000'000'000'000;  // of a number whose unit is not known yet

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes digits of a fraction from the front, as microseconds; more than six are cut.
Micros take_fraction(std::string_view& text) {
  Micros micros = 0, unit = kSecond / 10;
  while (!text.empty() && is_digit(text.front())) {
    micros += unit * (text.front() - '0');
    unit /= 10;
    text.remove_prefix(1);
  }
  return micros;
}

/// A number of seconds; nothing when it is none, or too large.
std::optional<Micros> read_number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  std::int64_t whole = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
  if (error != std::errc() || !is_digit(text.front()) || whole > kMaxSeconds) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  Micros micros = whole * kSecond;
  if (text.size() > 1 && text.front() == '.') {
    text.remove_prefix(1);
    micros += take_fraction(text);
  }
  if (!text.empty()) return std::nullopt;
  return negative ? -micros : micros;
}

/// Takes exactly `count` digits from the front.
bool take_digits(std::string_view& text, std::size_t count, int& value) {
  if (text.size() < count) return false;
  value = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!is_digit(text[i])) return false;
    value = 10 * value + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, std::string_view one_of) {
  if (text.empty() || one_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// A zone from the front, as microseconds ahead of UTC.
std::optional<Micros> take_zone(std::string_view& text) {
  if (text.empty() || take(text, "Zz")) return 0;
  const bool behind = text.front() == '-';
  int hours = 0, minutes = 0;
  if (!take(text, "+-") || !take_digits(text, 2, hours)) return std::nullopt;
  take(text, ":");
  if (!text.empty() && !take_digits(text, 2, minutes)) return std::nullopt;
  if (hours > 18 || minutes > 59) return std::nullopt;
  return (behind ? -1 : 1) * (hours * kHour + minutes * kMinute);
}

std::optional<Micros> read_iso(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  if (!take_digits(text, 4, year) || !take(text, "-") || !take_digits(text, 2, month) || !take(text, "-") ||
      !take_digits(text, 2, day))
    return std::nullopt;
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  Micros time = duration_cast<microseconds>(sys_days(date).time_since_epoch()).count();
  if (text.empty()) return time;
  if (!take(text, "T ") || !take_digits(text, 2, hour) || !take(text, ":") || !take_digits(text, 2, minute))
    return std::nullopt;
  Micros fraction = 0;
  if (take(text, ":")) {
    if (!take_digits(text, 2, second)) return std::nullopt;
    if (take(text, ".,")) fraction = take_fraction(text);
  }
  const auto zone = take_zone(text);
  constexpr int kLeapSecond = 60;
  if (!zone || !text.empty() || hour > 23 || minute > 59 || second > kLeapSecond) return std::nullopt;
  return time + hour * kHour + minute * kMinute + second * kSecond + fraction - *zone;
}

std::optional<Micros> read_pattern(std::string_view text, const std::string& pattern) {
  const std::string copy(text);
  std::tm parts{};
  const char* end = ::strptime(copy.c_str(), pattern.c_str(), &parts);
  if (end != copy.c_str() + copy.size()) return std::nullopt;
  const std::int64_t zone = parts.tm_gmtoff;  // timegm forgets it
  const std::int64_t seconds = ::timegm(&parts);
  if (seconds > kMaxSeconds || seconds < -kMaxSeconds) return std::nullopt;
  return (seconds - zone) * kSecond;
}

}  // namespace

TimeReader::TimeReader(std::string format) : format_(std::move(format)) {
  if (format_ == "auto") return;
  if (format_ == "seconds")
    way_ = Way::kSeconds;
  else if (format_ == "milliseconds")
    way_ = Way::kMilliseconds;
  else if (format_ == "iso")
    way_ = Way::kIso;
  else if (format_.find('%') != std::string::npos)
    way_ = Way::kPattern;
  else
    throw base::ConfigError("time_format is '" + format_ +
                            "', expected auto, seconds, milliseconds, iso, or a pattern such as %d/%m/%Y %H:%M");
}

std::optional<Micros> TimeReader::read(std::string_view text) const {
  const auto time = read_any(text);
  return time && *time >= kFirstTime && *time <= kLastTime ? time : std::nullopt;
}

std::optional<Micros> TimeReader::read_any(std::string_view text) const {
  constexpr Micros kFirstMillisecond = 100'000'000'000 * kSecond;
  switch (way_) {
    case Way::kSeconds:
      return read_number(text);
    case Way::kMilliseconds:
      if (const auto number = read_number(text)) return *number / 1000;
      return std::nullopt;
    case Way::kIso:
      return read_iso(text);
    case Way::kPattern:
      return read_pattern(text, format_);
    case Way::kAuto:
      break;
  }
  const auto number = read_number(text);
  if (!number) return read_iso(text);
  return *number < kFirstMillisecond ? *number : *number / 1000;
}

std::string time_text(Micros time) {
  using namespace std::chrono;
  const sys_time<microseconds> point{microseconds(time)};
  const auto days = floor<std::chrono::days>(point);
  const year_month_day date(days);
  const hh_mm_ss clock(floor<seconds>(point - days));
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02u %02d:%02d:%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

}  // namespace decant::data
