// Pseudonyms within the library; tests/cli/test_pseudonyms.py has the whole way.
#include "data/pseudonyms.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "data/id_text.h"
#include "data/import.h"
#include "tests/data/support.h"

namespace decant::data {
namespace {

using namespace testing_support;

class PseudonymTest : public testing::Test {
 protected:
  [[nodiscard]] fs::path key(const std::string& name, const std::string& bytes, mode_t mode = 0600) const {
    write_text(folder_ / name, bytes);
    ::chmod((folder_ / name).c_str(), mode);
    return folder_ / name;
  }
  TempFolder folder_;
};

TEST_F(PseudonymTest, AreFunctionsOfKeyKindAndId) {
  const Pseudonyms one(key("1", "0123456789abcdef")), again(key("2", "0123456789abcdef")),
      other(key("3", "0123456789abcdeg"));
  // hashlib.blake2b(b"user\0anna", digest_size=16, key=hashlib.blake2b(b"0123456789abcdef", digest_size=32).digest())
  EXPECT_EQ(one.of(IdKind::kUser, "anna"), "630b58cef03b1acf81fbe5e4dc6d7443");
  EXPECT_EQ(one.of(IdKind::kItem, "anna"), "fc0997176c554c440c9b7ad2997fb235");
  EXPECT_EQ(one.of(IdKind::kUser, ""), again.of(IdKind::kUser, ""));
  EXPECT_EQ(one.fingerprint(), again.fingerprint());
  EXPECT_NE(one.of(IdKind::kUser, "anna"), other.of(IdKind::kUser, "anna"));
  EXPECT_NE(one.fingerprint(), other.fingerprint());
}

TEST_F(PseudonymTest, KeysThatCannotBe) {
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { Pseudonyms{key("short", "0123456789abcde")}; }),
                  "16 to 65,536 bytes");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { Pseudonyms{key("long", std::string(65'537, 'x'))}; }),
                  "16 to 65,536");
  EXPECT_CONTAINS(message_of<base::ConfigError>([&] { Pseudonyms{key("open", std::string(32, 'x'), 0604)}; }),
                  "chmod 600");
  EXPECT_CONTAINS(message_of<base::FileError>([&] { Pseudonyms{folder_ / "none"}; }), "No such file");
}

TEST_F(PseudonymTest, SessionsKeepTheirNumbersAndTheMapHasTheUserOnce) {
  write_text(folder_ / "log", "user,item,time\na,x,0\na,y,1\na,z,99999\nb,x,5\n");
  ImportOptions options;
  options.format = "interactions";
  options.files = {(folder_ / "log").string()};
  options.interactions.session_gap = 10;
  options.min_events = 2;
  options.pseudonyms.key_file = key("key", std::string(32, 'k')).string();
  options.pseudonyms.map = (folder_ / "map").string();
  import_dataset(options, folder_ / "d");
  const Pseudonyms pseudonyms(folder_ / "key");
  std::vector<std::string> names;
  Dataset(folder_ / "d").visit_users([&](auto, auto name) { names.emplace_back(name); });
  EXPECT_EQ(names, (std::vector<std::string>{pseudonyms.of(IdKind::kUser, "a") + "#1"}));
  EXPECT_EQ(bytes_of(folder_ / "map"), "user\t" + pseudonyms.of(IdKind::kUser, "a") + "\ta\n");
  EXPECT_EQ(Dataset(folder_ / "d").info().import_key, import_key(options));
  EXPECT_EQ(item_names(folder_ / "d"), (std::vector<std::string>{"x", "y"}));
}

TEST(Printable, ShowsWhatATerminalCan) {
  EXPECT_EQ(printable("a\té\x7f\xff"), R"(a\x09é\x7f\xff)");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("éé", 1), "é...");
  EXPECT_EQ(printable(""), "");
}

}  // namespace
}  // namespace decant::data
