#include "launch/failure.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <new>
#include <stdexcept>
#include <string>

#include "base/hash.h"
#include "launch/same_start.h"

namespace decant::launch {
namespace {

Failure failure_of(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    return current_failure();
  }
  return {0, ""};
}

TEST(Failure, HasTheCodeOfItsFamily) {
  const Failure config = failure_of([] { throw base::ConfigError("unknown key 'a'"); });
  EXPECT_EQ(config.code, 2);
  EXPECT_EQ(config.text, "unknown key 'a'");
  EXPECT_EQ(failure_of([] { throw base::FileError("a.txt", "No space left on device"); }).code, 3);
  EXPECT_EQ(failure_of([] { throw base::Error(base::ExitCode::kStopped, "stopped"); }).code, 7);
  const Failure folder = failure_of([] { std::filesystem::create_directory("/proc/none"); });
  EXPECT_EQ(folder.code, 3);
  EXPECT_EQ(folder.text, "/proc/none: No such file or directory");
}

TEST(Failure, ForeignExceptionsAreOneLine) {
  const Failure torch = failure_of([] { TORCH_CHECK(false, "shapes differ\nsecond line"); });
  EXPECT_EQ(torch.code, 1);
  EXPECT_EQ(torch.text, "LibTorch: shapes differ");
  EXPECT_EQ(failure_of([] { throw std::runtime_error("one\ntwo"); }).text, "unexpected: one");
  EXPECT_EQ(failure_of([] { throw std::bad_alloc(); }).text, "out of memory");
  EXPECT_EQ(failure_of([] { throw 3; }).code, 1);
}

TEST(Failure, IsPrintedAsOneLine) {
  testing::internal::CaptureStderr();
  print_failure("text\nmore", place_of(1, 4));
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(line.starts_with("decant: [rank 1/4 ")) << line;
  EXPECT_TRUE(line.ends_with("] text more\n")) << line;
}

/// Gathers a fixed answer of two further ranks.
class ThreeRanks final : public dist::Communicator {
 public:
  explicit ThreeRanks(std::vector<std::string> others) : others_(std::move(others)) {}
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 3; }
  [[nodiscard]] std::string backend() const override { return "test"; }
  [[nodiscard]] torch::Device device() const override { return torch::Device(torch::kCPU); }
  std::unique_ptr<dist::Work> all_reduce(torch::Tensor, dist::Reduce) override { throw std::logic_error("not used"); }
  std::unique_ptr<dist::Work> broadcast(torch::Tensor, int) override { throw std::logic_error("not used"); }
  std::unique_ptr<dist::Work> all_gather(torch::Tensor, torch::Tensor) override { throw std::logic_error("not used"); }
  std::unique_ptr<dist::Work> all_to_all(torch::Tensor, const std::vector<std::int64_t>&, torch::Tensor,
                                         const std::vector<std::int64_t>&) override {
    throw std::logic_error("not used");
  }
  std::unique_ptr<dist::Communicator> split(int) override { throw std::logic_error("not used"); }
  void barrier() override {}
  void rendezvous() override {}
  void all_reduce_host(std::vector<double>&, dist::Reduce) override {}
  void all_reduce_host(std::vector<std::int64_t>&, dist::Reduce) override {}
  std::vector<std::string> gather_bytes(const std::string& bytes) override { return {bytes, others_[0], others_[1]}; }
  std::string broadcast_bytes(const std::string& bytes, int) override { return bytes; }
  [[nodiscard]] double waited_seconds() const override { return 0; }

 private:
  std::vector<std::string> others_;
};

std::string different(std::vector<std::string> others) {
  ThreeRanks ranks(std::move(others));
  try {
    require_same(ranks, "jobs", "run:\n  seed: 3\nbatch: 8");
  } catch (const CommonError& error) {
    EXPECT_EQ(error.code(), base::ExitCode::kConfig);
    return error.what();
  }
  return "";
}

TEST(RequireSame, NamesBothRanksAndTheFirstLineThatDiffers) {
  const std::string hash = base::hash_hex("run:\n  seed: 3\nbatch: 8");
  EXPECT_EQ(different({hash, hash}), "");
  // The fake gives the same answer to both exchanges: a rank that differs gives its text for a hash too.
  EXPECT_EQ(different({"run:\n  seed: 4\nbatch: 8", "run:"}),
            "ranks 0 and 1 have different jobs: 'seed: 3' and 'seed: 4'; start all of them with the same program, job "
            "file and options");
  EXPECT_TRUE(different({hash, "run:\n  seed: 3"})
                  .starts_with("ranks 0 and 2 have different jobs: 'batch: 8' and "
                               "'nothing'"));
}

std::string agreed(std::vector<std::string> others, const std::function<void()>& work) {
  ThreeRanks ranks(std::move(others));
  try {
    agree(ranks, work);
  } catch (const CommonError& error) {
    EXPECT_TRUE(error.speaks());
    return std::to_string(static_cast<int>(error.code())) + " " + error.what();
  }
  return "";
}

TEST(Agree, NothingHappensWhenAllIsWell) {
  EXPECT_EQ(agreed({"null", "null"}, [] {}), "");
}

TEST(Agree, WhatEverybodySaysIsSaidOnceWithoutAName) {
  EXPECT_EQ(agreed({R"([2,"wrong key","rank 1/3 b"])", R"([2,"wrong key","rank 2/3 c"])"},
                   [] { throw base::ConfigError("wrong key"); }),
            "2 wrong key");
}

TEST(Agree, WhatOneSaysHasItsPlace) {
  EXPECT_EQ(agreed({"null", R"([3,"a.txt: no such file","rank 2/3 c"])"}, [] {}), "3 [rank 2/3 c] a.txt: no such file");
}

}  // namespace
}  // namespace decant::launch
