#include "dist/backoff.h"

#include <sched.h>

#include <thread>

namespace decant::dist {

namespace {

using std::chrono::microseconds;

// A yield on a busy machine costs a whole time slice (1 MB between two ranks: 0.16 ms by spinning, 4 ms by yielding
// after 20 us), so spinning covers the exchange itself; the waiting for a late rank begins where it ends.
constexpr microseconds kSpin{200}, kYield{2000}, kShortSleeps{20'000};

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

void Backoff::pause() const {
  const auto idle = Clock::now() - idle_since_;
  if (idle < kSpin) {
    relax();
  } else if (idle < kYield) {
    ::sched_yield();
  } else {
    std::this_thread::sleep_for(idle < kShortSleeps ? microseconds(50) : microseconds(200));
  }
}

}  // namespace decant::dist
