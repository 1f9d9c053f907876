// The watchdog over MPI: ranks meet, part in peace, and hear of collectives that differ.
#include "dist/watchdog.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "dist/recorded_communicator.h"
#include "tests/multirank/world.h"

namespace decant::multirank {
namespace {

using std::chrono::milliseconds;

constexpr dist::WatchdogOptions kOptions{milliseconds(60'000), milliseconds(100), milliseconds(200)};

TEST(Watchdog, MeetsOverMpiAndPartsInPeace) {
  dist::FlightRecorder recorder;
  std::atomic<int> trips{0};
  const auto communicator =
      dist::make_recorded_communicator(dist::make_mpi_communicator(session(), {milliseconds(60'000)}), recorder);
  {
    const dist::Watchdog watchdog(*communicator, "here", recorder, kOptions, [&](const auto&) { ++trips; });
    EXPECT_EQ(watchdog.note(), "");
    for (int round = 0; round < 50; ++round) {
      torch::Tensor values = torch::full({1000 + round}, 1.0);
      communicator->all_reduce(values, dist::Reduce::kSum)->wait();
      // Each rank gives as much as it has; the record must not take that for a difference.
      (void)communicator->gather_bytes(std::string(static_cast<std::size_t>(10 * session().rank()), 'x'));
    }
    std::this_thread::sleep_for(milliseconds(250));  // some heartbeats
  }
  communicator->barrier();
  EXPECT_EQ(trips, 0);
}

TEST(Watchdog, TellsEveryRankOfCollectivesThatDiffer) {
  if (session().size() == 1) GTEST_SKIP() << "one rank differs from nobody";
  dist::FlightRecorder recorder;
  std::promise<dist::TripReport> promise;
  auto report = promise.get_future();
  const auto communicator =
      dist::make_recorded_communicator(dist::make_mpi_communicator(session(), {milliseconds(60'000)}), recorder);
  const dist::Watchdog watchdog(*communicator, "here", recorder, kOptions,
                                [&](const dist::TripReport& told) { promise.set_value(told); });
  const int last = session().size() - 1;
  // Written down only: on the wire such ranks would wait for each other.
  recorder.wait_begins(recorder.start(dist::CollectiveKind::kAllReduce, session().rank() == last ? 32 : 64));
  ASSERT_EQ(report.wait_for(milliseconds(10'000)), std::future_status::ready);
  const dist::TripReport told = report.get();
  EXPECT_EQ(told.speaks, session().rank() == 0);
  const std::string expected = "ranks 0 and " + std::to_string(last) + " are in different collectives: #";
  EXPECT_TRUE(told.what.starts_with(expected)) << told.what;
  EXPECT_NE(told.what.find("is all_reduce of 64 bytes on rank 0"), std::string::npos) << told.what;
  EXPECT_NE(told.what.find("and all_reduce of 32 bytes on rank " + std::to_string(last)), std::string::npos)
      << told.what;
  communicator->barrier();
}

}  // namespace
}  // namespace decant::multirank
