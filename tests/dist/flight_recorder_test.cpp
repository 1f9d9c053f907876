// The record of the last collectives: numbers, places, what is waited for; and that keeping it allocates nothing.
#include "dist/flight_recorder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <thread>

#include "dist/recorded_communicator.h"

namespace {
std::atomic<std::int64_t> allocations{0};  // NOLINT: operator new is given no other place to count in
}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;  // NOLINT
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }               // NOLINT
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }  // NOLINT

namespace decant::dist {
namespace {

using Kind = CollectiveKind;

TEST(FlightRecorder, KnowsWhereARankStands) {
  FlightRecorder recorder;
  EXPECT_EQ(recorder.standing().begun, 0);
  recorder.stand_at("student", 22);
  const auto first = recorder.start(Kind::kAllReduce, 4096);
  const auto second = recorder.start(Kind::kBarrier, 0);
  EXPECT_EQ(recorder.standing().waiting, -1) << "issued, not waited for";
  recorder.wait_begins(first);
  Standing now = recorder.standing();
  EXPECT_EQ(now.begun, 2);
  EXPECT_EQ(now.waiting, first);
  EXPECT_EQ(now.place.text(), "student step 22");
  ASSERT_TRUE(now.brief(first));
  EXPECT_EQ(now.brief(first)->kind, Kind::kAllReduce);
  EXPECT_EQ(now.brief(first)->bytes, 4096);
  EXPECT_FALSE(now.brief(2)) << "not issued yet";
  recorder.finish(second);
  EXPECT_EQ(recorder.standing().waiting, first);
  recorder.finish(first);
  EXPECT_EQ(recorder.standing().waiting, -1);
  const auto history = recorder.history(8);
  ASSERT_EQ(history.size(), 2u);
  EXPECT_TRUE(history[0].starts_with("all_reduce #0 of 4096 bytes, student step 22, started ")) << history[0];
  EXPECT_EQ(history[0].find("not finished"), std::string::npos);
  EXPECT_EQ(history[1].find("waited"), std::string::npos) << "nobody waited for it";
}

TEST(FlightRecorder, KeepsTheLastOnesOnly) {
  FlightRecorder recorder;
  for (std::int64_t n = 0; n < FlightRecorder::kKept + 10; ++n) EXPECT_EQ(recorder.start(Kind::kBroadcast, n), n);
  EXPECT_FALSE(recorder.find(9));
  EXPECT_EQ(recorder.find(10)->bytes, 10);
  EXPECT_FALSE(recorder.find(FlightRecorder::kKept + 10));
  EXPECT_FALSE(recorder.find(-1));
  recorder.finish(3);  // forgotten long ago
  const Standing now = recorder.standing();
  EXPECT_FALSE(now.brief(now.begun - Standing::kBriefs - 1));
  EXPECT_EQ(now.brief(now.begun - Standing::kBriefs)->bytes, now.begun - Standing::kBriefs);
  EXPECT_EQ(recorder.history(1 << 20).size(), static_cast<std::size_t>(FlightRecorder::kKept));
}

TEST(FlightRecorder, HashesWhatRanksMustHaveInCommon) {
  const auto hash_of = [](std::vector<std::pair<Kind, std::int64_t>> collectives) {
    FlightRecorder recorder;
    for (const auto& [kind, bytes] : collectives) recorder.start(kind, bytes);
    return recorder.standing().hash;
  };
  EXPECT_EQ(hash_of({{Kind::kAllReduce, 8}, {Kind::kBarrier, 0}}),
            hash_of({{Kind::kAllReduce, 8}, {Kind::kBarrier, 0}}));
  EXPECT_NE(hash_of({{Kind::kAllReduce, 8}, {Kind::kBarrier, 0}}),
            hash_of({{Kind::kBarrier, 0}, {Kind::kAllReduce, 8}}));
  EXPECT_NE(hash_of({{Kind::kAllReduce, 8}}), hash_of({{Kind::kAllReduce, 16}}));
  EXPECT_EQ(hash_of({{Kind::kGatherBytes, 8}}), hash_of({{Kind::kGatherBytes, 16}})) << "each rank gives its own";
}

TEST(FlightRecorder, LongPlacesAreCut) {
  Place place;
  place.set(std::string(100, 'x'), 3);
  EXPECT_EQ(place.text(), std::string(39, 'x') + " step 3");
  place.set("evaluate", -1);
  EXPECT_EQ(place.text(), "evaluate");
}

TEST(FlightRecorder, AllocatesNothing) {
  FlightRecorder recorder;
  const std::string stage = "student";
  const std::int64_t before = allocations;
  for (int i = 0; i < 1000; ++i) {
    recorder.stand_at(stage, i);
    const auto sequence = recorder.start(Kind::kAllReduce, 64);
    recorder.wait_begins(sequence);
    recorder.finish(sequence);
  }
  EXPECT_EQ(recorder.standing().begun, 1000);
  EXPECT_EQ(allocations - before, 0);
}

TEST(FlightRecorder, MayBeReadWhileItIsWritten) {
  FlightRecorder recorder;
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      const Standing now = recorder.standing();
      if (now.waiting >= 0) {
        EXPECT_EQ(now.brief(now.waiting)->bytes, now.waiting);
      }
    }
  });
  for (std::int64_t n = 0; n < 20000; ++n) {
    recorder.wait_begins(recorder.start(Kind::kAllReduce, n));
    recorder.finish(n);
  }
  stop = true;
  reader.join();
}

TEST(RecordedCommunicator, WritesDownWhatGoesThroughIt) {
  FlightRecorder recorder;
  const auto communicator = make_recorded_communicator(make_single_communicator(torch::kCPU), recorder);
  communicator->stand_at("teacher", 5);
  torch::Tensor tensor = torch::ones({16});
  const auto work = communicator->all_reduce(tensor, Reduce::kSum);
  EXPECT_EQ(recorder.find(0)->finished, RecorderClock::time_point{});
  work->wait();
  EXPECT_NE(recorder.find(0)->finished, RecorderClock::time_point{});
  (void)communicator->broadcast(tensor, 0)->test();
  communicator->all_gather(torch::ones({16}), tensor)->wait();
  communicator->barrier();
  communicator->rendezvous();
  std::vector<double> values{1, 2};
  communicator->all_reduce_host(values, Reduce::kSum);
  (void)communicator->gather_bytes("abc");
  (void)communicator->broadcast_bytes("abcd", 0);
  const std::vector<std::pair<Kind, std::int64_t>> expected{
      {Kind::kAllReduce, 64}, {Kind::kBroadcast, 64},     {Kind::kAllGather, 64},  {Kind::kBarrier, 0},
      {Kind::kRendezvous, 0}, {Kind::kAllReduceHost, 16}, {Kind::kGatherBytes, 3}, {Kind::kBroadcastBytes, 4}};
  for (std::size_t n = 0; n < expected.size(); ++n) {
    const auto record = recorder.find(static_cast<std::int64_t>(n));
    ASSERT_TRUE(record);
    EXPECT_EQ(record->kind, expected[n].first) << n;
    EXPECT_EQ(record->bytes, expected[n].second) << n;
    EXPECT_EQ(record->place.text(), "teacher step 5");
    EXPECT_NE(record->finished, RecorderClock::time_point{}) << n;
  }
  EXPECT_THROW((void)communicator->broadcast(tensor, 3), std::exception);
  EXPECT_EQ(recorder.find(8)->finished, RecorderClock::time_point{}) << "the one that failed stays open";
}

}  // namespace
}  // namespace decant::dist
