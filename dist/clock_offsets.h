// How far the ranks' clocks are apart.
#pragma once

#include <vector>

#include "dist/communicator.h"

namespace decant::dist {

/// The rank's system clock minus rank 0's lies within `seconds` plus and minus `uncertainty`.
struct ClockOffset {
  double seconds = 0;
  double uncertainty = 0;
};

/// Collective; by rank, the same on all ranks. Bounds and not estimates: a rank's time stamp was taken after rank 0's
/// stamp of the round before had reached it, and before rank 0 had this round's stamps (after Cristian 1989). Holds as
/// long as no clock is set meanwhile.
[[nodiscard]] std::vector<ClockOffset> clock_offsets(Communicator& communicator, int rounds = 20);

}  // namespace decant::dist
