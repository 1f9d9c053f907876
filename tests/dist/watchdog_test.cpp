// Several ranks in one process, each with a watchdog of its own over real connections: who trips, when, and what is told.
#include "dist/watchdog.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <optional>
#include <thread>

#include "dist/errors.h"
#include "dist/socket.h"
#include "dist/verdict.h"

namespace decant::dist {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Kind = CollectiveKind;

constexpr WatchdogOptions kOptions{milliseconds(60'000), milliseconds(50), milliseconds(200), milliseconds(1000)};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Identity rank_of(int rank, int size) { return {rank, size, "host" + std::to_string(rank), 4000 + rank}; }

/// One rank with its record; `report` is set once it trips.
struct Rank {
  void watch(std::unique_ptr<ControlPlane> plane, const Identity& self, WatchdogOptions options) {
    watchdog.emplace(std::move(plane), self, recorder, options,
                     [this](const TripReport& told) { promise.set_value(told); });
  }
  [[nodiscard]] bool tripped_within(milliseconds patience) const {
    return report.wait_for(patience) == std::future_status::ready;
  }

  FlightRecorder recorder;
  std::promise<TripReport> promise;
  std::future<TripReport> report = promise.get_future();
  std::optional<Watchdog> watchdog;
};

/// `watched` ranks of `size`; the others are the test's own.
struct Job {
  Job(int watched, int size, WatchdogOptions options = kOptions) : ranks(static_cast<std::size_t>(watched)) {
    auto leader = std::make_unique<ControlPlane>(rank_of(0, size));
    endpoint = leader->endpoint();
    ranks[0].watch(std::move(leader), rank_of(0, size), options);
    for (int rank = 1; rank < watched; ++rank)
      ranks[static_cast<std::size_t>(rank)].watch(
          std::make_unique<ControlPlane>(rank_of(rank, size), endpoint, milliseconds(5000)), rank_of(rank, size),
          options);
  }
  Rank& operator[](std::size_t rank) { return ranks[rank]; }

  std::vector<Rank> ranks;
  std::string endpoint;
};

ControlMessage beat(const FlightRecorder& recorder) {
  ControlMessage message;
  message.kind = ControlKind::kBeat;
  message.standing = recorder.standing();
  return message;
}

TEST(Watchdog, RanksThatEndInPeaceDisturbNobody) {
  Job job(3, 3);
  job[0].watchdog.reset();  // the leader first, which the others must not take for its death
  EXPECT_FALSE(job[1].tripped_within(milliseconds(500)));
  job[2].watchdog.reset();
  EXPECT_FALSE(job[1].tripped_within(milliseconds(500)));
}

TEST(Watchdog, NamesARankThatIsGoneAndWhereItStood) {
  Job job(2, 3);
  FlightRecorder lost;
  lost.stand_at("student", 7);
  auto plane = std::make_unique<ControlPlane>(rank_of(2, 3), job.endpoint, milliseconds(5000));
  for (Rank& rank : job.ranks) {
    rank.recorder.stand_at("student", 7);
    rank.recorder.wait_begins(rank.recorder.start(Kind::kAllReduce, 64));
  }
  lost.start(Kind::kAllReduce, 64);
  plane->send(0, beat(lost));
  std::this_thread::sleep_for(milliseconds(100));
  const auto began = Clock::now();
  plane.reset();  // as the kernel does with the sockets of a process that is killed
  ASSERT_TRUE(job[0].tripped_within(milliseconds(2000)));
  EXPECT_LT(Clock::now() - began, milliseconds(1000));
  const TripReport report = job[0].report.get();
  EXPECT_TRUE(report.what.starts_with("rank 2 (host2, process 4002) is gone: when last heard of, ")) << report.what;
  EXPECT_TRUE(has(report.what, "it was at student step 7, after all_reduce #0")) << report.what;
  EXPECT_TRUE(has(report.what, "; ranks 0-1 are in all_reduce #0 of 64 bytes (student step 7) for ")) << report.what;
  EXPECT_TRUE(report.speaks);
  EXPECT_EQ(report.code, 4);
  ASSERT_EQ(report.history.size(), 1u);
  EXPECT_TRUE(has(report.history[0], "not finished"));
  ASSERT_TRUE(job[1].tripped_within(milliseconds(1000)));
  const TripReport other = job[1].report.get();
  EXPECT_EQ(other.what, report.what);
  EXPECT_FALSE(other.speaks);
}

TEST(Watchdog, TheLowestRankSpeaksWhenTheLeaderIsGone) {
  auto leader = std::make_unique<ControlPlane>(rank_of(0, 3));
  const std::string endpoint = leader->endpoint();
  Rank one, two;
  {
    std::atomic<bool> met{false};
    std::thread serve([&] {
      while (!met) (void)leader->wait(milliseconds(10));
    });
    one.watch(std::make_unique<ControlPlane>(rank_of(1, 3), endpoint, milliseconds(5000)), rank_of(1, 3), kOptions);
    two.watch(std::make_unique<ControlPlane>(rank_of(2, 3), endpoint, milliseconds(5000)), rank_of(2, 3), kOptions);
    met = true;
    serve.join();
  }
  FlightRecorder lost;
  lost.stand_at("control, checkpoint", 10);
  lost.start(Kind::kBarrier, 0);
  for (const int rank : {1, 2}) leader->send(rank, beat(lost));
  std::this_thread::sleep_for(milliseconds(100));
  leader.reset();
  ASSERT_TRUE(one.tripped_within(milliseconds(2000)));
  ASSERT_TRUE(two.tripped_within(milliseconds(2000)));
  const TripReport first = one.report.get();
  EXPECT_TRUE(first.speaks);
  EXPECT_FALSE(two.report.get().speaks);
  EXPECT_TRUE(has(first.what, "rank 0 (host0, process 4000) is gone")) << first.what;
  EXPECT_TRUE(has(first.what, "at control, checkpoint step 10, after barrier #0; rank 1 is before any collective"))
      << first.what;
}

TEST(Watchdog, LeavesTheVerdictToALeaderThatIsBack) {
  auto options = kOptions;
  options.timeout = milliseconds(700);
  auto leader = std::make_unique<ControlPlane>(rank_of(0, 3));
  Rank one, two;
  {
    std::atomic<bool> met{false};
    std::thread serve([&] {
      while (!met) (void)leader->wait(milliseconds(10));
    });
    for (auto [rank, who] : {std::pair(&one, 1), {&two, 2}})
      rank->watch(std::make_unique<ControlPlane>(rank_of(who, 3), leader->endpoint(), milliseconds(5000)),
                  rank_of(who, 3), options);
    met = true;
    serve.join();
  }
  for (const int rank : {1, 2}) leader->send(rank, beat(FlightRecorder()));
  ASSERT_TRUE(one.tripped_within(milliseconds(4000)));  // which tells the leader to go on, were it a process here
  EXPECT_TRUE(has(one.report.get().what, "rank 0 (host0, process 4000) has stopped answering"));
  leader->send(2, beat(FlightRecorder()));
  EXPECT_FALSE(two.tripped_within(milliseconds(500))) << "it has said all there is to say";
  ControlMessage end;
  end.kind = ControlKind::kEnd;
  end.code = 4;
  end.text = "that is it";
  leader->send(2, end);
  ASSERT_TRUE(two.tripped_within(milliseconds(1000)));
  const TripReport report = two.report.get();
  EXPECT_EQ(report.what, "that is it");
  EXPECT_FALSE(report.speaks);
}

TEST(Watchdog, NamesARankThatIsSilent) {
  auto options = kOptions;
  options.timeout = milliseconds(700);
  Job job(2, 3, options);
  ControlPlane stopped(rank_of(2, 3), job.endpoint, milliseconds(5000));
  stopped.send(0, beat(FlightRecorder()));
  const auto began = Clock::now();
  ASSERT_TRUE(job[0].tripped_within(milliseconds(4000)));
  EXPECT_GE(Clock::now() - began, milliseconds(700));
  const TripReport report = job[0].report.get();
  EXPECT_TRUE(report.what.starts_with("rank 2 (host2, process 4002) has stopped answering: when last heard of, "))
      << report.what;
  EXPECT_TRUE(has(report.what, "ranks 0-1 are before any collective")) << report.what;
  // It reads the end of the job when it goes on.
  std::optional<ControlMessage> last;
  for (const auto& news : stopped.wait(milliseconds(1000)))
    if (!news.gone) last = news.message;
  ASSERT_TRUE(last);
  EXPECT_EQ(last->kind, ControlKind::kEnd);
  EXPECT_EQ(last->text, report.what);
}

TEST(Watchdog, NamesRanksWhoseCollectivesDiffer) {
  Job job(2, 2);
  for (Rank& rank : job.ranks) {
    rank.recorder.stand_at("student", 3);
    rank.recorder.finish(rank.recorder.start(Kind::kAllReduce, 4096));
  }
  EXPECT_FALSE(job[0].tripped_within(milliseconds(300))) << "they are alike so far";
  job[0].recorder.wait_begins(job[0].recorder.start(Kind::kAllGather, 8));
  job[1].recorder.wait_begins(job[1].recorder.start(Kind::kAllReduceHost, 40));
  ASSERT_TRUE(job[0].tripped_within(milliseconds(2000)));
  const auto what = job[0].report.get().what;
  EXPECT_TRUE(
      what.starts_with("ranks 0 and 1 are in different collectives: #1 is all_gather of 8 bytes on rank 0 "
                       "(student step 3) and all_reduce_host of 40 bytes on rank 1 (student step 3)"))
      << what;
}

TEST(Watchdog, ADifferenceExplainsAnErrorOfMpi) {
  auto options = kOptions;
  options.beat = milliseconds(400);  // the error comes first
  Job job(2, 2, options);
  std::this_thread::sleep_for(milliseconds(50));
  job[0].recorder.wait_begins(job[0].recorder.start(Kind::kAllReduce, 4096));
  job[1].recorder.wait_begins(job[1].recorder.start(Kind::kAllReduce, 2048));
  job[1].watchdog->fail("all_reduce #0 of 2048 bytes, after waiting 0.0 s: MPI_Test: MPI_ERR_TRUNCATE");
  ASSERT_TRUE(job[0].tripped_within(milliseconds(2000)));
  EXPECT_TRUE(
      job[0].report.get().what.starts_with("ranks 0 and 1 are in different collectives: #0 is all_reduce of 4096 "
                                           "bytes on rank 0"));
}

TEST(FindMismatch, FindsADifferenceThatLiesFarBack) {
  FlightRecorder mine, theirs;
  mine.start(Kind::kAllReduce, 8);
  theirs.start(Kind::kAllReduce, 16);
  EXPECT_TRUE(has(find_mismatch(mine, 0, 1, theirs.standing()).value_or(""), "#0 is all_reduce of 8 bytes on rank 0"));
  for (int i = 0; i < 100; ++i) {
    mine.start(Kind::kBarrier, 0);
    theirs.start(Kind::kBarrier, 0);
  }
  EXPECT_EQ(find_mismatch(mine, 0, 1, theirs.standing()),
            "ranks 0 and 1 have been in different collectives before #85: do all ranks have the same job, data and "
            "decant?");
  for (int i = 0; i < 300; ++i) mine.start(Kind::kBarrier, 0);
  EXPECT_FALSE(find_mismatch(mine, 0, 1, theirs.standing())) << "forgotten, and not taken for a difference";
}

TEST(FindMismatch, LetsRanksBeAtDifferentPlaces) {
  FlightRecorder mine, theirs;
  EXPECT_FALSE(find_mismatch(mine, 0, 1, theirs.standing()));
  for (int i = 0; i < 40; ++i) mine.start(Kind::kAllReduce, i);
  EXPECT_FALSE(find_mismatch(mine, 0, 1, theirs.standing())) << "it has not begun";
  for (int i = 0; i < 60; ++i) {
    theirs.start(Kind::kAllReduce, i);
    EXPECT_FALSE(find_mismatch(mine, 0, 1, theirs.standing())) << i;
  }
  mine.start(Kind::kGatherBytes, 100);
  EXPECT_FALSE(find_mismatch(mine, 0, 1, theirs.standing())) << "they have told of later ones only";
  for (int i = 41; i < 60; ++i) mine.start(Kind::kAllReduce, i);
  EXPECT_TRUE(find_mismatch(mine, 0, 1, theirs.standing())) << "the rolling hash tells that one of them was another";
}

TEST(Watchdog, NamesARankThatDoesNotCome) {
  Job job(3, 3);
  job[1].recorder.stand_at("labels part 3", -1);
  for (const std::size_t rank : {0, 2}) job[rank].recorder.wait_begins(job[rank].recorder.start(Kind::kBarrier, 0));
  std::thread waiting([&] { job[2].watchdog->fail("barrier #9 of 0 bytes, after waiting 0.1 s: time-out"); });
  ASSERT_TRUE(job[0].tripped_within(milliseconds(2000)));
  waiting.join();
  const auto what = job[0].report.get().what;
  EXPECT_TRUE(
      what.starts_with("rank 1 (host1, process 4001) does not come to the collective that others wait for: it "
                       "is at labels part 3, before any collective; ranks 0, 2 are in barrier #0 of 0 bytes for "))
      << what;
}

TEST(Watchdog, EndsARankThatIsBlockedWithoutAnyOtherOne) {
  auto options = kOptions;
  options.timeout = milliseconds(100);
  Rank alone, patient;
  alone.watch(nullptr, rank_of(1, 2), options);
  patient.watch(nullptr, rank_of(1, 2), options);
  alone.recorder.wait_begins(alone.recorder.start(Kind::kBroadcast, 24));
  patient.recorder.wait_begins(patient.recorder.start(Kind::kRendezvous, 0));  // takes as long as it takes
  ASSERT_TRUE(alone.tripped_within(milliseconds(5000)));
  const TripReport report = alone.report.get();
  EXPECT_TRUE(has(report.what, "broadcast #0 still blocks after its time-out of 100 ms")) << report.what;
  EXPECT_TRUE(report.speaks);
  EXPECT_FALSE(patient.tripped_within(milliseconds(300)));
}

TEST(Watchdog, GivesTheLauncherTimeWhenARankFailsByItself) {
  Job job(3, 3);
  const auto began = Clock::now();
  job[1].watchdog->leave(5);
  for (Rank& rank : job.ranks) {
    ASSERT_TRUE(rank.tripped_within(milliseconds(4000)));
    const TripReport report = rank.report.get();
    EXPECT_EQ(report.code, 5);
    EXPECT_FALSE(report.speaks) << "that rank has said why";
    EXPECT_EQ(report.what, "rank 1 has ended with code 5 and said why");
  }
  EXPECT_GE(Clock::now() - began, kOptions.patience);
}

TEST(ControlPlane, KnowsRankZeroFromTheFirstMomentOn) {
  ControlPlane leader(rank_of(0, 2));
  FlightRecorder recorder;
  recorder.stand_at("import", -1);
  auto serve = std::async(std::launch::async, [&] {
    while (!leader.connected(1)) (void)leader.wait(milliseconds(10));
    leader.send(1, beat(recorder));
  });
  ControlPlane other(rank_of(1, 2), leader.endpoint(), milliseconds(5000));
  serve.get();
  std::vector<ControlPlane::News> news;
  while (news.size() < 2)
    for (auto& one : other.wait(milliseconds(1000))) news.push_back(std::move(one));
  EXPECT_EQ(news[0].message.kind, ControlKind::kWelcome);
  EXPECT_EQ(news[0].message.pid, 4000);
  EXPECT_EQ(news[1].message.standing.place.text(), "import") << "whether or not it came together with the welcome";
}

TEST(ControlPlane, LetsNobodyElseIn) {
  ControlPlane leader(rank_of(0, 2));
  const std::string& line = leader.endpoint();
  const auto second = line.find(' ', line.find(' ') + 1);
  const int port = std::stoi(line.substr(second + 1));
  std::string why;
  const Descriptor stranger = connect_to("127.0.0.1", port, milliseconds(1000), why);
  ASSERT_TRUE(stranger.open()) << why;
  const std::string noise(4096, 'x');
  ASSERT_EQ(::write(stranger.get(), noise.data(), noise.size()), static_cast<ssize_t>(noise.size()));
  for (int turn = 0; turn < 10; ++turn) EXPECT_TRUE(leader.wait(milliseconds(20)).empty());
  // Whoever does not know the token is not answered, and says so.
  const std::string forged = "1 2 " + std::to_string(port) + " 127.0.0.1";
  auto refused = std::async(std::launch::async, [&] {
    try {
      const ControlPlane other(rank_of(1, 2), forged, milliseconds(300));
    } catch (const CommError& error) {
      return std::string(error.what());
    }
    return std::string();
  });
  while (refused.wait_for(milliseconds(0)) != std::future_status::ready)
    EXPECT_TRUE(leader.wait(milliseconds(20)).empty());
  EXPECT_TRUE(has(refused.get(), "rank 1 on host1 cannot reach rank 0 at port " + std::to_string(port)));
  EXPECT_FALSE(leader.connected(1));
}

TEST(ControlPlane, SaysWhereItCouldNotConnect) {
  try {
    const ControlPlane other(rank_of(3, 4), "1 2 1 127.0.0.1 not-an-address", milliseconds(1000));
    FAIL();
  } catch (const CommError& error) {
    EXPECT_TRUE(has(error.what(), "rank 3 on host3 cannot reach rank 0 at port 1 (127.0.0.1: Connection refused"))
        << error.what();
  }
}

}  // namespace
}  // namespace decant::dist
