#include "launch/signals.h"

#include <gtest/gtest.h>

#include <csignal>
#include <string>

namespace decant::launch {
namespace {

TEST(Signals, EachOfTheThreeAsksToStop) {
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
    const Signals signals(false);
    EXPECT_FALSE(signals.stop_requested());
    ASSERT_EQ(std::raise(signal), 0);
    EXPECT_TRUE(signals.stop_requested());
  }
}

TEST(Signals, AnswersThePersonAtTheKeyboardOnly) {
  testing::internal::CaptureStderr();
  {
    const Signals signals(true);
    ASSERT_EQ(std::raise(SIGTERM), 0);
  }
  {
    const Signals signals(false);
    ASSERT_EQ(std::raise(SIGINT), 0);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  testing::internal::CaptureStderr();
  {
    const Signals signals(true);
    ASSERT_EQ(std::raise(SIGINT), 0);
    ASSERT_EQ(std::raise(SIGUSR1), 0);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(text, "\ndecant: stopping at the next step (a second Ctrl-C leaves at once)\n");
}

TEST(SignalsDeathTest, ASecondInterruptLeavesAtOnce) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const Signals signals(false);
        std::raise(SIGINT);
        std::raise(SIGTERM);
        std::raise(SIGINT);
      },
      testing::ExitedWithCode(130), "");
}

/// SIGUSR1 before anybody handles it: the stop is not lost, and does not end the process.
TEST(Signals, WhatCameBeforeIsNotLost) {
  hold_stop_signal();
  ASSERT_EQ(std::raise(SIGUSR1), 0);
  const Signals signals(false);
  EXPECT_TRUE(signals.stop_requested());
}

TEST(Signals, DefaultsComeBack) {
  { const Signals signals(false); }
  struct sigaction action {};
  ASSERT_EQ(::sigaction(SIGTERM, nullptr, &action), 0);
  EXPECT_EQ(action.sa_handler, SIG_DFL);
}

}  // namespace
}  // namespace decant::launch
