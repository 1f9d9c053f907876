#include "dist/backoff.h"

#include <gtest/gtest.h>

#include <ctime>
#include <thread>

namespace decant::dist {
namespace {

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

using Clock = std::chrono::steady_clock;

TEST(Backoff, SpinsAtFirst) {
  auto best = Clock::duration::max();
  for (int attempt = 0; attempt < 20; ++attempt) {  // the best of them: the machine may be busy
    const Backoff backoff;
    const auto begin = Clock::now();
    for (int i = 0; i < 10; ++i) backoff.pause();
    best = std::min(best, Clock::now() - begin);
  }
  EXPECT_LT(best, std::chrono::microseconds(20));
}

TEST(Backoff, LeavesTheCoreToOthersWhenNothingHappens) {
  const Backoff backoff;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const double before = cpu_seconds();
  const auto begin = Clock::now();
  while (Clock::now() - begin < std::chrono::milliseconds(200)) backoff.pause();
  EXPECT_LT(cpu_seconds() - before, 0.1);
}

TEST(Backoff, IsQuickAgainAfterAReset) {
  Backoff backoff;
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  auto best = Clock::duration::max();
  for (int attempt = 0; attempt < 20; ++attempt) {
    backoff.reset();
    const auto begin = Clock::now();
    backoff.pause();
    best = std::min(best, Clock::now() - begin);
  }
  EXPECT_LT(best, std::chrono::microseconds(40));
}

}  // namespace
}  // namespace decant::dist
