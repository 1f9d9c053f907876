#include "data/time_text.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace decant::data {
namespace {

constexpr Micros kSecond = 1'000'000;

TEST(TimeText, Numbers) {
  const TimeReader seconds("seconds"), milliseconds("milliseconds"), any("auto");
  EXPECT_EQ(seconds.read("881250949"), 881250949 * kSecond);
  EXPECT_EQ(seconds.read("1463929246.25"), 1463929246 * kSecond + kSecond / 4);
  EXPECT_EQ(seconds.read("-1.5"), -kSecond - kSecond / 2);
  EXPECT_EQ(milliseconds.read("1463929246250"), 1463929246 * kSecond + kSecond / 4);
  EXPECT_EQ(any.read("1463929246"), 1463929246 * kSecond);
  EXPECT_EQ(any.read("1463929246250"), 1463929246 * kSecond + kSecond / 4);
  EXPECT_EQ(any.read("99999999999"), 99999999999 * kSecond);
  for (const char* wrong :
       {"", " ", "-", "+1", "1.", "1e9", "0x10", "12a", "--3", "99999999999999999999", "1.2.3", ".5"}) {
    EXPECT_FALSE(seconds.read(wrong)) << wrong;
    EXPECT_FALSE(any.read(wrong)) << wrong;
  }
}

TEST(TimeText, Iso) {
  const TimeReader iso("iso");
  const Micros day = 1291161600 * kSecond;  // 2010-12-01
  EXPECT_EQ(iso.read("2010-12-01"), day);
  EXPECT_EQ(iso.read("2010-12-01 08:26"), day + (8 * 60 + 26) * 60 * kSecond);
  EXPECT_EQ(iso.read("2010-12-01T08:26:30Z"), day + (8 * 3600 + 26 * 60 + 30) * kSecond);
  EXPECT_EQ(iso.read("2010-12-01T00:00:00.1234567"), day + 123456);
  EXPECT_EQ(iso.read("2010-12-01T01:00:00+01:00"), day);
  EXPECT_EQ(iso.read("2010-11-30T20:30-0330"), day);
  EXPECT_EQ(iso.read("1969-12-31T23:59:59"), -kSecond);
  for (const char* wrong :
       {"2010-13-01", "2010-02-30", "2011-02-29", "2010-12-1", "2010-12-01 8:26", "2010-12-01 24:00", "2010-12-01T08",
        "2010-12-01T08:26:61", "2010-12-01T08:26+19:00", "2010-12-01 08:26 ", "10-12-01"})
    EXPECT_FALSE(iso.read(wrong)) << wrong;
}

TEST(TimeText, Patterns) {
  const TimeReader reader("%d/%m/%Y %H:%M");
  EXPECT_EQ(reader.read("01/12/2010 08:26"), TimeReader("iso").read("2010-12-01 08:26"));
  EXPECT_FALSE(reader.read("01/12/2010"));
  EXPECT_FALSE(reader.read("01/12/2010 08:26 and more"));
  EXPECT_EQ(TimeReader("%Y-%m-%dT%H:%M%z").read("2010-12-01T08:26+0200"), TimeReader("iso").read("2010-12-01 06:26"));
  EXPECT_THROW(TimeReader("unix"), base::ConfigError);
}

TEST(TimeText, IsShownAsRead) {
  for (const char* text : {"1969-12-31 23:59:59", "1970-01-01 00:00:00", "2000-02-29 12:00:01", "2038-01-19 03:14:08"})
    EXPECT_EQ(time_text(*TimeReader("iso").read(text)), text);
}

}  // namespace
}  // namespace decant::data
