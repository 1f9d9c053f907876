// Points in time as logs write them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace decant::data {

/// Microseconds since 1970-01-01 00:00 UTC.
using Micros = std::int64_t;
/// Times outside of the years 0 to 9999 are refused: such numbers are in another unit.
inline constexpr Micros kFirstTime = -62'167'219'200'000'000, kLastTime = 253'402'300'799'999'999;

/// Reads a time in one way:
/// "seconds", "milliseconds": a number since 1970, with or without a fraction;
/// "iso": 2010-12-01, 2010-12-01 08:26, 2010-12-01T08:26:30.25+01:00 (UTC where no zone is given);
/// a pattern with '%', as strptime(3) takes it in the C locale, UTC: "%d/%m/%Y %H:%M";
/// "auto": a number of seconds (of milliseconds from 1e11 on), else "iso".
class TimeReader {
 public:
  /// Throws ConfigError for another format.
  explicit TimeReader(std::string format);
  /// Nothing when the text is no such time, or one out of range.
  [[nodiscard]] std::optional<Micros> read(std::string_view text) const;

 private:
  [[nodiscard]] std::optional<Micros> read_any(std::string_view text) const;
  enum class Way : std::uint8_t { kAuto, kSeconds, kMilliseconds, kIso, kPattern };
  std::string format_;
  Way way_ = Way::kAuto;
};

/// "2010-12-01 08:26:30" in UTC.
[[nodiscard]] std::string time_text(Micros time);

}  // namespace decant::data
