// All-reduce put to the test: are its results right, and how fast are they there.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "dist/communicator.h"

namespace decant::dist {

/// Collective, the same answer on all ranks: every wrong result in a sentence; nothing where all are right. Sum, maximum
/// and minimum of float32, float64 and int64, from one element to a million, each element against its known value.
/// The values are small integers, so that sums are exact with up to 5,000 ranks.
[[nodiscard]] std::vector<std::string> check_all_reduce(Communicator& communicator);

struct AllReduceTest {
  std::chrono::duration<double> budget{5};  // for all sizes together; larger ones are left out when it runs short
  std::int64_t most_bytes = std::int64_t{64} << 20;
};

/// One size. Bandwidths as nccl-tests defines them: algbw = bytes / time, and busbw = algbw * 2 (n - 1) / n, which can be
/// held against the speed of a link whatever the number of ranks.
struct AllReduceTime {
  std::int64_t bytes = 0;
  int repeats = 0;
  double seconds = 0;                               // median over repeats of the slowest rank's time
  double fastest_seconds = 0, slowest_seconds = 0;  // over repeats
  double algbw = 0, busbw = 0;                      // bytes a second
};

/// Collective, the same answer on all ranks: float32 sums from 8 bytes on, each size at least five times.
[[nodiscard]] std::vector<AllReduceTime> time_all_reduce(Communicator& communicator, const AllReduceTest& test);

}  // namespace decant::dist
