#include "monitoring/credentials.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/errors.h"
#include "monitoring/base64.h"

namespace decant::monitoring {
namespace {

class CredentialsFile : public ::testing::Test {
 protected:
  ~CredentialsFile() override { std::filesystem::remove(path_); }

  const std::filesystem::path& write(const std::string& text, mode_t rights = 0600) {
    std::filesystem::remove(path_);
    std::ofstream(path_) << text;
    EXPECT_EQ(::chmod(path_.c_str(), rights), 0);
    return path_;
  }
  /// What refuses it says; "" when nothing does.
  std::string refusal(const std::filesystem::path& path) {
    try {
      static_cast<void>(read_credentials(path, "monitoring.auth_file"));
      return "";
    } catch (const base::ConfigError& error) {
      return error.what();
    }
  }
  const std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("decant_credentials_" + std::to_string(::getpid()));
};

TEST_F(CredentialsFile, HoldsOneLine) {
  for (const char* const text : {"reader:a:b c", "reader:a:b c\n", "reader:a:b c\r\n"}) {
    const auto found = read_credentials(write(text), "k");
    EXPECT_EQ(found.user, "reader");
    EXPECT_EQ(found.password, "a:b c");
  }
  EXPECT_EQ(refusal(write("reader:x", 0400)), "");
}

TEST_F(CredentialsFile, OfOtherContentIsRefusedWithoutQuotingIt) {
  for (const std::string text : {"", "secret", ":secret", "secret:", "a:secret\nb:secret\n", "a:secret\tx"}) {
    const std::string said = refusal(write(text));
    EXPECT_EQ(said, "monitoring.auth_file: " + path_.string() + ": expected one line user:password");
  }
  EXPECT_NE(refusal(write("a:" + std::string(5000, 's'))).find("longer than 4096 bytes"), std::string::npos);
}

TEST_F(CredentialsFile, ThatOthersMayTouchIsRefused) {
  for (const mode_t rights : {0640U, 0604U, 0620U, 0777U}) {
    const std::string said = refusal(write("reader:secret", rights));
    EXPECT_NE(said.find("chmod 600"), std::string::npos) << said;
    EXPECT_EQ(said.find("secret"), std::string::npos) << said;
  }
}

TEST_F(CredentialsFile, ThatIsNoneIsRefused) {
  EXPECT_NE(refusal("/no/such/file").find("/no/such/file: cannot be read: No such file"), std::string::npos);
  EXPECT_NE(refusal("/dev/null").find("no regular file"), std::string::npos);
  EXPECT_NE(refusal(std::filesystem::temp_directory_path()).find("no regular file"), std::string::npos);
}

TEST(Base64, Rfc4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xfb\xef\xff"), "++//");
  EXPECT_EQ(base64_url("\xfb\xef\xff"), "--__");
}

TEST(BasicAuthorization, Rfc7617) {
  const std::string expected = basic_authorization({"Aladdin", "open sesame"});
  EXPECT_EQ(expected, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  EXPECT_TRUE(authorizes(expected, expected));
  EXPECT_FALSE(authorizes("", expected));
  EXPECT_FALSE(authorizes(expected + "=", expected));
}

}  // namespace
}  // namespace decant::monitoring
