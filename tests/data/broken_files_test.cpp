// A corpus of broken logs of interactions: each with its message, or with what is made of it.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "data/errors.h"
#include "data/import.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;
using namespace std::string_literals;

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

std::string flipped(std::string bytes, std::size_t from_end) {
  auto& byte = bytes[bytes.size() - from_end];
  byte = static_cast<char>(byte ^ 0x10);
  return bytes;
}

std::string utf16(const std::string& ascii) {
  std::string out = "\xff\xfe";
  for (const char c : ascii) out += {c, '\0'};
  return out;
}

const std::string kHead = "user,item,time\n", kSkip = " (--on-error skip passes over such lines)";

class BrokenFiles : public testing::Test {
 protected:
  BrokenFiles() { options_.format = "interactions"; }
  void import(const std::string& bytes) {
    write_text(file(), bytes);
    options_.files = {file().string()};
    import_dataset(options_, folder_ / "dataset");
  }
  /// The whole message, without the file's path.
  template <class Error = DataError>
  std::string refused(const std::string& bytes) {
    const auto message = message_of<Error>([&] { import(bytes); });
    EXPECT_FALSE(fs::exists(folder_ / "dataset")) << message;
    const auto path = file().string() + ": ";
    return message.starts_with(path) ? message.substr(path.size()) : message;
  }
  Rows accepted(const std::string& bytes) {
    import(bytes);
    auto rows = named_rows(folder_ / "dataset");
    fs::remove_all(folder_ / "dataset");
    return rows;
  }
  [[nodiscard]] fs::path file() const { return folder_ / "log"; }

  TempFolder folder_;
  ImportOptions options_;
  InteractionOptions& own_ = options_.interactions;
};

TEST_F(BrokenFiles, Encoding) {
  EXPECT_EQ(refused(kHead + "a,\xc3\x28,1\n"), "line 2: an id is not valid UTF-8" + kSkip);
  EXPECT_EQ(refused(kHead + "a,\xed\xa0\x80,1\n"), "line 2: an id is not valid UTF-8" + kSkip);  // half of a surrogate
  const std::string wide = "the text is UTF-16, and UTF-8 is read: iconv -f UTF-16 -t UTF-8 converts it";
  EXPECT_EQ(refused(utf16(kHead + "a,x,1\n")), wide);
  EXPECT_EQ(refused("\xfe\xff\0u\0s"s), wide);
  EXPECT_EQ(
      refused("\0u\0s\0e\0r\n"s),
      R"(line 1: the header has no column 'user' for 'user' (it has: \x00u\x00s\x00e\x00r); is ',' the separator?)");
  EXPECT_EQ(accepted("\xef\xbb\xbf" + kHead + "a,x,1\n"), (Rows{{"x"}}));
  EXPECT_EQ(refused(kHead + "a,x\0y,1\n"s), "line 2: an id has a control character (byte 0x00)" + kSkip);
  EXPECT_EQ(accepted("note,user,item,time\n\0\x01,a,x,1\n"s), (Rows{{"x"}}));  // a column that nobody asked for
  EXPECT_EQ(refused(kHead + "a,x,\0001\n"s), R"(line 2: time '\x001' is no time of the format 'auto')" + kSkip);
}

TEST_F(BrokenFiles, Lines) {
  EXPECT_EQ(accepted("user,item,time\r\na,x,1\r\na,y,2"), (Rows{{"x", "y"}}));
  EXPECT_EQ(refused("user,item,time\ra,x,1\ra,y,2\r"),
            R"(line 1: the lines end in CR alone: tr '\r' '\n' converts the file)");
  const std::string empty = "nothing is left to import of 0 lines";
  EXPECT_EQ(refused<base::ConfigError>(""), empty);
  EXPECT_EQ(refused<base::ConfigError>(kHead), empty);
  EXPECT_EQ(refused<base::ConfigError>("\n \n\t\n"), empty);
  std::string members;
  for (int i = 0; i < 17; ++i) members += gzip(std::string(std::size_t{1} << 24, 'a'));
  EXPECT_EQ(refused(members), "line 1: the line has over 256 MiB: is this a text file?");
}

TEST_F(BrokenFiles, Columns) {
  EXPECT_EQ(refused(kHead + "a,x\n"), "line 2: there are 2 columns where the header has 3" + kSkip);
  EXPECT_EQ(refused(kHead + "a,x,1,2\n"), "line 2: there are 4 columns where the header has 3" + kSkip);
  EXPECT_EQ(refused("user,item,time,user\na,x,1,b\n"),
            "line 1: the header has two columns 'user' ('interactions.header: false' takes columns by number)");
  EXPECT_EQ(accepted("user,note,item,note,time\na,,x,,1\n"), (Rows{{"x"}}));  // twice, and not asked for
  EXPECT_EQ(refused("user;item;time\na;x;1\n"),
            "line 1: the header has no column 'user' for 'user' (it has: user;item;time); is ';' the separator rather "
            "than ','?");
  EXPECT_EQ(refused("\"user\"s,item,time\n"),
            "line 1: the header: text follows a closing quote ('interactions.quotes: false' takes quotes as they are)");
  EXPECT_EQ(refused(kHead + "\"a\"b,x,1\n"),
            "line 2: text follows a closing quote ('interactions.quotes: false' takes quotes as they are)" + kSkip);
  EXPECT_EQ(refused(kHead + "a,x,1\na,\"y,2\n" + std::string(70'000, 'z') + "\n"),
            "line 3: a quote is not closed within 64 KiB ('interactions.quotes: false' takes quotes as they are)");
  own_.header = false, own_.user = "1", own_.item = "2", own_.time = "4";
  EXPECT_EQ(refused("a,x,1\n"), "line 1: there are 3 columns, and 'time' is column 4" + kSkip);
  own_.time = "3";
  const std::string no_time = "time 'time' is no time of the format 'auto'",
                    names = "; does this line name the columns? 'interactions.header: true' reads names";
  EXPECT_EQ(refused(kHead + "a,x,1\n"), "line 1: " + no_time + names + kSkip);
  EXPECT_EQ(refused("a,x,1\n" + kHead), "line 2: " + no_time + kSkip);
}

TEST_F(BrokenFiles, HeadersWithOtherNames) {
  const auto of_header = [&](const std::string& header) {
    const auto message = refused(header + "\n");
    const auto end = message.find("); ");  // of the list of names
    return end == std::string::npos ? "" : message.substr(end + 3);
  };
  EXPECT_EQ(of_header("User,Item,Time"), "did you mean 'User'?");
  EXPECT_EQ(of_header("user_id:token,item_id:token"), "did you mean 'user_id:token'?");
  EXPECT_EQ(of_header("usr,item,time"), "did you mean 'usr'?");
  EXPECT_EQ(of_header("customer,item,time"), "");
  EXPECT_EQ(of_header("17850,lantern,2010-12-01"),
            "is it the first event? 'interactions.header: false' takes columns by number");
  EXPECT_EQ(of_header("user\titem\ttime"), "is 'tab' the separator rather than ','?");
  EXPECT_EQ(of_header("user::item::time"), "is '::' the separator rather than ','?");
  EXPECT_EQ(of_header("customer"), "is ',' the separator?");
  EXPECT_EQ(of_header(R"({"user": 1, "item": 2})"), "is it JSON? 'interactions.lines: json' reads an object a line");
  own_.separator = "tab";
  EXPECT_EQ(of_header("user,item,time"), "is ',' the separator rather than 'tab'?");
  EXPECT_EQ(of_header("customer"), "is 'tab' the separator?");
}

TEST_F(BrokenFiles, Numbers) {
  own_.rating = "stars";
  const std::string head = "user,item,time,stars\n";
  for (const char* text : {"nan", "-nan", "inf", "-inf", "1e999", "0x10", "+5", "1,5", "five", "1.5.2"})
    EXPECT_EQ(refused(head + "a,x,1,\"" + text + "\"\n"), "line 2: rating '"s + text + "' is no number" + kSkip);
  EXPECT_EQ(accepted(head + "a,x,1,1e308\n"), (Rows{{"x"}}));
  EXPECT_EQ(refused(head + "a,x,1," + std::string(50, '7') + "x\n"),
            "line 2: rating '" + std::string(40, '7') + "...' is no number" + kSkip);
}

TEST_F(BrokenFiles, Times) {
  for (const char* text : {"soon", "99999999999999999999", "1600000000000000" /* microseconds */, "2020-13-01",
                           "2020-02-30", "2020-01-01 25:00", "1e9", "nan", "2020-01-01T00:00:00+25:00", "20-1-1"})
    EXPECT_EQ(refused(kHead + "a,x," + text + "\n"),
              "line 2: time '"s + text + "' is no time of the format 'auto'" + kSkip);
  EXPECT_EQ(accepted(kHead + "a,y,0001-01-01\na,x,-62167219200\na,z,9999-12-31T23:59:59\n"), (Rows{{"x", "y", "z"}}));
  own_.time_format = "seconds";
  EXPECT_EQ(refused(kHead + "a,x,1600000000000\n"),
            "line 2: time '1600000000000' is no time of the format 'seconds'" + kSkip);
}

TEST_F(BrokenFiles, Compression) {
  const std::string text = kHead + "a,x,1\na,y,2\n", damaged = "the compressed data cannot be read: ";
  for (const auto& pack : {gzip, zstd}) {
    const auto whole = pack(text);
    EXPECT_EQ(accepted(whole), (Rows{{"x", "y"}}));
    EXPECT_EQ(accepted(pack(kHead) + pack("a,x,1\n") + pack("") + pack("a,y,2\n")), (Rows{{"x", "y"}}));
    for (const std::size_t lost : {std::size_t{1}, whole.size() / 2})
      EXPECT_EQ(refused(whole.substr(0, whole.size() - lost)), damaged + "the file ends in the middle") << lost;
  }
  EXPECT_EQ(refused(flipped(gzip(text), 6)), damaged + "incorrect data check");
  EXPECT_EQ(refused(flipped(gzip(text), 2)), damaged + "incorrect length check");
  EXPECT_EQ(refused(gzip(text) + "more"), damaged + "incorrect header check");
  EXPECT_EQ(refused(flipped(zstd(text), 2)), damaged + "Restored data doesn't match checksum");
  EXPECT_EQ(refused(zstd(text) + "more"), damaged + "Unknown frame descriptor");
}

TEST_F(BrokenFiles, JsonLines) {
  own_.lines = "json";
  const std::string good = R"({"user": "a", "item": "x", "time": 1})";
  EXPECT_EQ(accepted(good + "\r\n\n" + R"({"user": "a", "item": "z", "item": "y", "time": 2})"),
            (Rows{{"x", "y"}}));  // the last
  EXPECT_EQ(refused(good + "\n{\"user\": \"a\",\n"), "line 2: is no JSON: the fault is at byte 14" + kSkip);
  EXPECT_EQ(refused(R"({"user": "a", "time": NaN})"), "line 1: is no JSON: the fault is at byte 23" + kSkip);
  EXPECT_EQ(refused(good + good), "line 1: is no JSON: the fault is at byte 38" + kSkip);
  EXPECT_EQ(refused("{\"user\": \"\xff\"}"), "line 1: is no JSON: the fault is at byte 11" + kSkip);
  EXPECT_EQ(refused(R"({"user": "\ud800"})"), "line 1: is no JSON: the fault is at byte 17" + kSkip);
  EXPECT_EQ(refused("{\"user\": 1e999}"), "line 1: is no JSON: the fault is at byte 1" + kSkip);
  EXPECT_EQ(refused("[1, 2]"), "line 1: is no JSON object" + kSkip);
  EXPECT_EQ(refused("\"text\""), "line 1: is no JSON object" + kSkip);
  EXPECT_EQ(refused(R"({"user": ["a"], "item": "x", "time": 1})"), "line 1: 'user' is no text and no number" + kSkip);
  EXPECT_EQ(refused(R"({"item": "x", "time": 1})"),
            "line 1: there is no user ('user' is empty; 'interactions.missing: drop' passes over such events)" + kSkip);
  EXPECT_EQ(refused(R"({"user": "a\u0000", "item": "x", "time": 1})"),
            "line 1: an id has a control character (byte 0x00)" + kSkip);
  constexpr std::size_t kDeep = 100'000;
  const auto deep = std::string(kDeep, '[') + std::string(kDeep, ']');
  EXPECT_EQ(refused(R"({"user": )" + deep + "}"), "line 1: 'user' is no text and no number" + kSkip);
  EXPECT_EQ(accepted(R"({"more": )" + deep + "," + good.substr(1)), (Rows{{"x"}}));
  EXPECT_EQ(refused(std::string(kDeep, '[')), "line 1: is no JSON: the fault is at byte 100001" + kSkip);
}

TEST_F(BrokenFiles, Sequences) {
  options_.format = "sequences";
  const std::string what = "; a line is a user and one or more items (--on-error skip passes over such lines)";
  EXPECT_EQ(refused("a x\nb\n"), "line 2: a user has no item" + what);
  const std::string log =
      "line 1: a user has no item; a line is a user and one or more items; a log of one event a line is "
      "read by '--format interactions'" +
      kSkip;
  for (const char* line : {"user,item,time\n", "user;item;time\n", "{\"user\":1,\"item\":2}\n"})
    EXPECT_EQ(refused(line), log);
  EXPECT_EQ(refused("a x\0y\n"s), "line 1: a control character (byte 0x00)" + what);
  EXPECT_EQ(refused("a \xff\n"), "line 1: an id is not valid UTF-8" + what);
  EXPECT_EQ(refused("a x\ra y\r"), "line 1: a control character (byte 0x0d)" + what);
  EXPECT_EQ(refused("a " + std::string(256, 'x')), "line 1: an id has 256 bytes, at most 255 are allowed" + what);
  EXPECT_EQ(refused(utf16("a x\n")), "the text is UTF-16, and UTF-8 is read: iconv -f UTF-16 -t UTF-8 converts it");
}

}  // namespace
}  // namespace decant::data
