#include "dist/clock_offsets.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

namespace decant::dist {

namespace {

/// Nanoseconds since 1970 by the clock that log lines and files are stamped with.
std::int64_t stamp() { return std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count(); }

struct Bounds {
  std::int64_t low = std::numeric_limits<std::int64_t>::min(), high = std::numeric_limits<std::int64_t>::max();
};

}  // namespace

std::vector<ClockOffset> clock_offsets(Communicator& communicator, int rounds) {
  const auto size = static_cast<std::size_t>(communicator.size());
  std::vector<Bounds> bounds(size);
  std::int64_t before = 0;  // rank 0's stamp of the round before
  for (int round = 0; round <= rounds; ++round) {
    const std::vector<std::string> stamps = communicator.gather_bytes(std::to_string(stamp()));
    const std::int64_t after = stamp();
    for (std::size_t rank = 1; rank < size && round > 0; ++rank) {
      const std::int64_t theirs = std::stoll(stamps[rank]);
      bounds[rank].low = std::max(bounds[rank].low, theirs - after);
      bounds[rank].high = std::min(bounds[rank].high, theirs - before);
    }
    before = std::stoll(stamps[0]);
  }
  // Only rank 0's view holds: the others compared with times at which they themselves had the stamps.
  std::vector<double> flat(2 * size, 0.0);
  if (communicator.rank() == 0)
    for (std::size_t rank = 1; rank < size; ++rank) {
      flat[2 * rank] = 0.5e-9 * (static_cast<double>(bounds[rank].low) + static_cast<double>(bounds[rank].high));
      flat[2 * rank + 1] = 0.5e-9 * static_cast<double>(bounds[rank].high - bounds[rank].low);
    }
  communicator.all_reduce_host(flat, Reduce::kSum);
  std::vector<ClockOffset> out;
  for (std::size_t rank = 0; rank < size; ++rank) out.push_back({flat[2 * rank], flat[2 * rank + 1]});
  return out;
}

}  // namespace decant::dist
