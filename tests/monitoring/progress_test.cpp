#include "monitoring/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>

#include "base/errors.h"

namespace decant::monitoring {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

std::string contents(std::FILE* file) {
  std::string out;
  std::rewind(file);
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) out += static_cast<char>(c);
  return out;
}

/// A pseudo-terminal of 60 columns: what is written to `file` can be read back.
class Terminal {
 public:
  Terminal() : file(nullptr, &std::fclose) {
    const winsize size{24, 60, 0, 0};
    int inner = -1;
    if (::openpty(&outer_, &inner, nullptr, nullptr, &size) != 0) return;
    ::fcntl(outer_, F_SETFL, O_NONBLOCK);
    file.reset(::fdopen(inner, "w"));
  }
  ~Terminal() { ::close(outer_); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  [[nodiscard]] std::string shown() const {
    std::string out;
    std::array<char, 4096> block{};
    for (ssize_t got = 0; (got = ::read(outer_, block.data(), block.size())) > 0;)
      out.append(block.data(), static_cast<std::size_t>(got));
    return out;
  }
  File file;

 private:
  int outer_ = -1;
};

TEST(Progress, RewritesOneLineOnATerminal) {
  const Terminal terminal;
  ASSERT_NE(terminal.file, nullptr);
  Progress progress(terminal.file.get(), true);
  progress.start("teacher", 0, 200);
  static_cast<void>(terminal.shown());
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  progress.update(100, "epoch 1");
  progress.update(101, "too soon");
  const std::string text = terminal.shown();
  EXPECT_TRUE(has(text, "\r\x1b[Kteacher  [##########..........]  50%  epoch 1")) << text;
  EXPECT_FALSE(has(text, "too soon")) << text;
  EXPECT_FALSE(has(text, "\n")) << text;
  EXPECT_LE(text.size(), 60 + std::string("\r\x1b[K").size()) << "a line that wraps cannot be rewritten";
  progress.say("teacher is below popularity");
  const std::string said = terminal.shown();
  EXPECT_TRUE(has(said, "\r\x1b[Kteacher is below popularity\r\n\r\x1b[Kteacher  [")) << said;
  progress.finish("teacher done in 0:01");
  EXPECT_EQ(terminal.shown(), "\r\x1b[Kteacher done in 0:01\r\n");
  progress.start("labels", 0, 10);
  static_cast<void>(terminal.shown());
  progress.finish("");
  EXPECT_EQ(terminal.shown(), "\r\x1b[K");
}

TEST(Progress, OnANarrowTerminalTheBarGivesWay) {
  const Terminal terminal;
  ASSERT_NE(terminal.file, nullptr);
  Progress progress(terminal.file.get(), true);
  progress.start("teacher", 0, 200);
  static_cast<void>(terminal.shown());
  std::this_thread::sleep_for(std::chrono::milliseconds(110));
  progress.update(100, "epoch 12  loss 5.9493");
  const std::string text = terminal.shown();
  EXPECT_TRUE(text.ends_with("ETA 0:00")) << text;
  EXPECT_LE(text.size(), 60 + std::string("\r\x1b[K").size()) << text;
}

TEST(Progress, LeavesItsLineBeforeAnotherWriter) {
  const Terminal terminal;
  ASSERT_NE(terminal.file, nullptr);
  Progress progress(terminal.file.get(), true);
  progress.leave();
  EXPECT_EQ(terminal.shown(), "");
  progress.start("labels", 0, 10);
  static_cast<void>(terminal.shown());
  progress.leave();
  progress.leave();
  EXPECT_EQ(terminal.shown(), "\r\n");
}

TEST(Progress, ShowsTheTimeThatIsLeft) {
  const Terminal terminal;
  ASSERT_NE(terminal.file, nullptr);
  Progress progress(terminal.file.get(), true);
  progress.start("labels", 50, 100);  // resumed at the half: the rate is of what was done since
  std::this_thread::sleep_for(std::chrono::milliseconds(210));
  progress.update(51, "");
  static_cast<void>(terminal.shown());
  std::this_thread::sleep_for(std::chrono::milliseconds(110));
  progress.update(51, "");
  const std::string text = terminal.shown();
  EXPECT_TRUE(has(text, "ETA 0:1")) << text;  // 49 more at a third of a second each: 15 s and a bit
}

TEST(Progress, PlainLinesElsewhereAndNoneTooSoon) {
  const File file(std::tmpfile(), &std::fclose);
  Progress progress(file.get(), true);
  progress.start("labels", 0, 10);
  for (int i = 0; i < 10; ++i) progress.update(i, "quick");
  progress.say("a word");
  progress.finish("labels done: 10 parts");
  EXPECT_EQ(contents(file.get()), "a word\nlabels done: 10 parts\n");
}

TEST(Progress, SilentOnOtherRanks) {
  const File file(std::tmpfile(), &std::fclose);
  Progress progress(file.get(), false);
  progress.start("labels", 0, 10);
  progress.update(3, "x");
  progress.say("y");
  progress.leave();
  progress.finish("z");
  EXPECT_EQ(contents(file.get()), "");
}

class RankLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "decant_log_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(RankLogTest, AppendsALineAnEventWithItsTime) {
  for (const char* text : {"first", "second"}) RankLog(folder_ / "log", 2).line(text);
  std::ifstream file(folder_ / "log" / "rank-2.log");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  ASSERT_EQ(std::count(text.begin(), text.end(), '\n'), 2) << text;
  EXPECT_EQ(text.find("Z first\n"), std::string("2026-11-23T14:01:55.123").size()) << text;
  EXPECT_EQ(text[10], 'T');
  EXPECT_TRUE(has(text, "Z second\n"));
}

TEST_F(RankLogTest, NamesTheFileThatCannotBeOpened) {
  std::ofstream(folder_ / "log") << "a file is in the way";
  try {
    RankLog log(folder_ / "log", 0);
    FAIL() << "opened";
  } catch (const base::FileError& error) {
    EXPECT_TRUE(has(error.what(), folder_.string())) << error.what();
  }
}

TEST_F(RankLogTest, AFullDiskLosesLinesNotTheJob) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  std::filesystem::create_symlink("/dev/full", folder_ / "rank-0.log");
  RankLog log(folder_, 0);
  log.line("lost");
  log.line("lost too");
}

}  // namespace
}  // namespace decant::monitoring
