#include "launch/environment.h"

#include <gtest/gtest.h>
#include <torch/cuda.h>

#include "base/errors.h"

namespace decant::launch {
namespace {

TEST(Device, LocalRanksTakeTheirOwn) {
  EXPECT_EQ(device_index(4, 0, 4), 0);
  EXPECT_EQ(device_index(4, 3, 4), 3);
  EXPECT_EQ(device_index(8, 3, 4), 3);
  EXPECT_EQ(device_index(1, 0, 1), 0);
  EXPECT_EQ(device_index(1, 3, 4), 0) << "each task may be shown its own device as number 0";
  EXPECT_EQ(device_index(2, 0, 4), std::nullopt);
}

TEST(Device, CpuIsAlwaysThere) {
  EXPECT_TRUE(choose_device("cpu", 0, 1).is_cpu());
  if (torch::cuda::is_available()) GTEST_SKIP() << "a CUDA device is visible";
  EXPECT_TRUE(choose_device("auto", 0, 1).is_cpu());
  EXPECT_THROW(static_cast<void>(choose_device("cuda", 0, 1)), base::ConfigError);
}

TEST(Threads, CoresAreCounted) {
  EXPECT_EQ(count_cores("0"), 1);
  EXPECT_EQ(count_cores("0-3"), 4);
  EXPECT_EQ(count_cores("0-3,8,10-11"), 7);
  EXPECT_GE(count_cores(allowed_cores()), 1);
}

TEST(Threads, RanksOnTheSameCoresShareThem) {
  EXPECT_EQ(choose_threads(0, {"a 0-7"}, 0), 8);
  EXPECT_EQ(choose_threads(0, {"a 0-7", "a 0-7"}, 1), 4);
  EXPECT_EQ(choose_threads(0, {"a 0-7", "b 0-7"}, 1), 8) << "another host";
  EXPECT_EQ(choose_threads(0, {"a 0-3", "a 4-7"}, 1), 4) << "bound apart by the launcher";
  EXPECT_EQ(choose_threads(0, {"a 0-1", "a 0-1", "a 0-1"}, 2), 1) << "more ranks than cores";
  EXPECT_EQ(choose_threads(3, {"a 0"}, 0), 3) << "run.threads decides";
}

}  // namespace
}  // namespace decant::launch
