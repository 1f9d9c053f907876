#include <gtest/gtest.h>

#include <cmath>

#include "dist/all_reduce_check.h"
#include "dist/clock_offsets.h"
#include "dist/mpi_facts.h"
#include "tests/multirank/world.h"

namespace decant::multirank {
namespace {

TEST(Exchange, AllReduceIsRight) { EXPECT_EQ(dist::check_all_reduce(world()), std::vector<std::string>{}); }

TEST(Exchange, TimesAreTheSameOnAllRanksAndGiveTheBusItsShare) {
  const auto times = dist::time_all_reduce(world(), {std::chrono::duration<double>(0.5), std::int64_t{1} << 20});
  ASSERT_FALSE(times.empty());
  std::string text;
  for (const dist::AllReduceTime& time : times) {
    const double size = world().size();
    EXPECT_NEAR(time.busbw, time.algbw * 2 * (size - 1) / size, 1e-6 * time.algbw);
    EXPECT_GT(time.seconds, 0);
    text += std::to_string(time.bytes) + " " + std::to_string(time.seconds) + ";";
  }
  for (const std::string& other : world().gather_bytes(text)) EXPECT_EQ(other, text);
}

TEST(Exchange, ClocksOfOneHostAreOneClock) {
  const auto offsets = dist::clock_offsets(world());
  ASSERT_EQ(offsets.size(), static_cast<std::size_t>(world().size()));
  EXPECT_EQ(offsets[0].seconds, 0);
  for (const dist::ClockOffset& offset : offsets) {
    EXPECT_LE(std::abs(offset.seconds), offset.uncertainty + 1e-6);
    EXPECT_LT(offset.uncertainty, 0.5);
  }
}

TEST(Exchange, MpiSaysWhatItIs) {
  const dist::MpiFacts facts = dist::mpi_facts();
  EXPECT_FALSE(facts.library.empty());
  // At least what MpiSession has asked for.
  EXPECT_TRUE(facts.thread_level == "MPI_THREAD_FUNNELED" || facts.thread_level == "MPI_THREAD_SERIALIZED" ||
              facts.thread_level == "MPI_THREAD_MULTIPLE")
      << facts.thread_level;
}

}  // namespace
}  // namespace decant::multirank
