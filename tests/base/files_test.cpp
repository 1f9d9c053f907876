#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/errors.h"

namespace decant::base {
namespace {

class Files : public testing::Test {
 protected:
  Files() {
    std::string pattern = (fs::temp_directory_path() / "decant-files-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~Files() override { fs::remove_all(folder_); }

  [[nodiscard]] std::vector<std::string> entries() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_)) out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  template <class Error, class Action>
  [[nodiscard]] static std::string message_of(Action action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }
  [[nodiscard]] static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  fs::path folder_;
};

using Names = std::vector<std::string>;

TEST_F(Files, WhatIsWrittenIsRead) {
  for (const std::size_t size : {0u, 1u, 65535u, 65536u, 65537u, 300'000u}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31);
    write_file(folder_ / "a" / "b" / "file", bytes);
    EXPECT_EQ(read_file(folder_ / "a" / "b" / "file"), bytes) << size;
  }
  EXPECT_EQ(entries(), Names{"a"});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "a" / "b"), {}), 1);  // no temporary file stays
}

TEST_F(Files, ReadingSaysWhy) {
  const std::string absent = message_of<FileError>([&] { (void)read_file(folder_ / "absent"); });
  EXPECT_TRUE(has(absent, "absent") && has(absent, "No such file or directory")) << absent;
  const std::string folder = message_of<FileError>([&] { (void)read_file(folder_); });
  EXPECT_TRUE(has(folder, "Is a directory")) << folder;
}

TEST_F(Files, AFailedWriteLeavesTheOldBytesAndNoTemporaryFile) {
  const fs::path path = folder_ / "file";
  write_file(path, "old");
  const auto before = ::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{}, small{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  small = limit;
  small.rlim_cur = 1000;  // as a full disk would: some bytes are written, then no more
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = message_of<FileError>([&] { write_file(path, std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &limit);
  ::signal(SIGXFSZ, before);
  EXPECT_TRUE(has(message, path.string()) && has(message, "File too large")) << message;
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(entries(), Names{"file"});
}

TEST_F(Files, WhatIsNoRegularFileIsNotOverwritten) {
  EXPECT_TRUE(has(message_of<FileError>([] { write_file("/dev/full", "x"); }), "no regular file"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_TRUE(has(message_of<FileError>([&] { write_file(folder_, "x"); }), "no regular file"));
}

TEST_F(Files, AParentThatIsAFileIsAnError) {
  write_file(folder_ / "file", "x");
  EXPECT_TRUE(has(message_of<FileError>([&] { write_file(folder_ / "file" / "inside", "y"); }), "cannot make"));
}

TEST_F(Files, ReplaceMovesAFileOverAFile) {
  write_file(folder_ / "from", "new");
  write_file(folder_ / "to", "old");
  replace_path(folder_ / "from", folder_ / "to");
  EXPECT_EQ(read_file(folder_ / "to"), "new");
  EXPECT_EQ(entries(), Names{"to"});
}

TEST_F(Files, ReplaceMovesAFolderOverAFolderWithContent) {
  write_file(folder_ / "from" / "a", "new");
  write_file(folder_ / "to" / "b" / "c", "old");
  replace_path(folder_ / "from", folder_ / "to");
  EXPECT_EQ(read_file(folder_ / "to" / "a"), "new");
  EXPECT_FALSE(fs::exists(folder_ / "to" / "b"));
  EXPECT_EQ(entries(), Names{"to"});
}

TEST_F(Files, ReplaceMovesAFolderToANewPlaceAndOverAFile) {
  write_file(folder_ / "from" / "a", "1");
  replace_path(folder_ / "from", folder_ / "deep" / "to");
  EXPECT_EQ(read_file(folder_ / "deep" / "to" / "a"), "1");
  write_file(folder_ / "file", "x");
  replace_path(folder_ / "deep" / "to", folder_ / "file");
  EXPECT_EQ(read_file(folder_ / "file" / "a"), "1");
}

TEST_F(Files, ReplaceOfNothingIsAnErrorAndLeavesTheOld) {
  write_file(folder_ / "to" / "a", "old");
  const std::string message = message_of<FileError>([&] { replace_path(folder_ / "from", folder_ / "to"); });
  EXPECT_TRUE(has(message, "No such file")) << message;
  EXPECT_EQ(read_file(folder_ / "to" / "a"), "old");
}

TEST_F(Files, SyncTakesFilesAndFoldersThatExist) {
  write_file(folder_ / "file", "x");
  sync_path(folder_ / "file");
  sync_path(folder_);
  EXPECT_TRUE(has(message_of<FileError>([&] { sync_path(folder_ / "absent"); }), "No such file"));
}

TEST_F(Files, FreeBytesOfAPlaceThatIsNotThereYet) {
  EXPECT_GT(free_bytes(folder_ / "not" / "there"), 0u);
  EXPECT_GT(free_bytes("not/there/either"), 0u);
}

TEST_F(Files, ALockNamesItsHolder) {
  const FolderLock lock(folder_ / "run");
  const std::string message = message_of<ConfigError>([&] { const FolderLock second(folder_ / "run"); });
  EXPECT_TRUE(has(message, (folder_ / "run").string())) << message;
  EXPECT_TRUE(has(message, "process " + std::to_string(::getpid()) + " on host ")) << message;
  const FolderLock elsewhere(folder_ / "other");
}

TEST_F(Files, ALockEndsWithItsHolder) {
  { const FolderLock lock(folder_); }
  { const FolderLock lock(folder_); }
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder_);
    ::_exit(0);  // no destructor runs, as when killed
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const FolderLock lock(folder_);
}

}  // namespace
}  // namespace decant::base
