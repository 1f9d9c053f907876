// A communicator of NCCL when NCCL answers with errors, late, or not at all. No GPU is needed: the test answers.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "dist/errors.h"
#include "dist/nccl_internal.h"

namespace decant::dist {
namespace {

using std::chrono::milliseconds;

/// Answers as told and writes down what it was asked for.
class FakeNccl final : public NcclApi {
 public:
  ncclResult_t init(ncclComm_t* comm, int, const ncclUniqueId&, int, ncclConfig_t* config) const override {
    calls.emplace_back(config->blocking == 0 ? "init" : "blocking init");
    if (makes) *comm = reinterpret_cast<ncclComm_t>(const_cast<int*>(&object));
    return init_result;
  }
  ncclResult_t async_error(ncclComm_t, ncclResult_t* state) const override {
    *state = states.size() > 1 ? states.front() : states.back();
    if (states.size() > 1) states.erase(states.begin());
    return ncclSuccess;
  }
  ncclResult_t finalize(ncclComm_t) const override {
    calls.emplace_back("finalize");
    return finalize_result;
  }
  void destroy(ncclComm_t) const override { calls.emplace_back("destroy"); }
  void abort(ncclComm_t) const override { calls.emplace_back("abort"); }
  std::string last_error(ncclComm_t) const override { return "socket closed by peer"; }

  bool makes = true;
  int object = 0;
  ncclResult_t init_result = ncclInProgress, finalize_result = ncclSuccess;
  mutable std::vector<ncclResult_t> states{ncclSuccess};  // the last one stays
  mutable std::vector<std::string> calls;
};

using Calls = std::vector<std::string>;

NcclHandle make(const FakeNccl& nccl, milliseconds timeout = milliseconds(50)) {
  return {ncclUniqueId{}, 1, 4, c10::Device(c10::kCPU), timeout, nccl};
}

/// Message of the CommError that `work` throws, or "".
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const CommError& error) {
    EXPECT_EQ(error.code(), base::ExitCode::kCommunication);
    return error.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(NcclHandle, WaitsUntilItIsMadeAndEndsInPeace) {
  FakeNccl nccl;
  nccl.states = {ncclInProgress, ncclInProgress, ncclSuccess};
  { const auto handle = make(nccl); }
  EXPECT_EQ(nccl.calls, (Calls{"init", "finalize", "destroy"}));
}

TEST(NcclHandle, GivesUpWhenARankDoesNotComeToItsMaking) {
  FakeNccl nccl;
  nccl.states = {ncclInProgress};
  const auto began = std::chrono::steady_clock::now();
  const auto message = message_of([&] { make(nccl); });
  EXPECT_TRUE(has(message, "ncclCommInitRankConfig: time-out after 50 ms")) << message;
  EXPECT_LT(std::chrono::steady_clock::now() - began, milliseconds(2000));
  EXPECT_EQ(nccl.calls, (Calls{"init", "abort"})) << "finalizing would wait for the rank that is missing";
}

TEST(NcclHandle, TellsWhyItCannotBeMade) {
  FakeNccl nccl;
  nccl.init_result = ncclInvalidUsage;
  auto message = message_of([&] { make(nccl); });
  EXPECT_TRUE(has(message, "socket closed by peer (do two ranks use one GPU?")) << message;
  nccl.makes = false;
  message = message_of([&] { make(nccl); });
  EXPECT_TRUE(has(message, "ncclCommInitRankConfig: ") && !has(message, "socket")) << message;
  EXPECT_EQ(nccl.calls, (Calls{"init", "abort", "init"})) << "there is nothing to abort the second time";
}

TEST(NcclHandle, AnErrorOfAPeerEndsTheWaitForACollective) {
  FakeNccl nccl;
  auto handle = std::make_unique<NcclHandle>(ncclUniqueId{}, 0, 2, c10::Device(c10::kCPU), milliseconds(5000), nccl);
  nccl.states = {ncclSuccess, ncclInProgress, ncclSuccess, ncclRemoteError};
  int polls = 0;
  const auto message =
      message_of([&] { handle->wait_until("all_reduce #3 of 64 bytes", [&] { return ++polls > 1000; }); });
  EXPECT_TRUE(message.starts_with("all_reduce #3 of 64 bytes: ")) << message;
  EXPECT_TRUE(has(message, "socket closed by peer (another rank has ended or left the network")) << message;
  EXPECT_EQ(polls, 3);
  // It cannot be used any more, and says so instead of asking NCCL again.
  EXPECT_TRUE(has(message_of([&] { handle->check_async("all_reduce #4"); }), "has failed before"));
  handle.reset();
  EXPECT_EQ(nccl.calls, (Calls{"init", "abort"}));
}

TEST(NcclHandle, ABlockedCollectiveTimesOutAndIsAborted) {
  FakeNccl nccl;
  {
    auto handle = make(nccl);
    const auto message = message_of([&] { handle.wait_until("broadcast #9 of 8 bytes", [] { return false; }); });
    EXPECT_TRUE(has(message, "broadcast #9 of 8 bytes: time-out after 50 ms: not every rank answers")) << message;
  }
  EXPECT_EQ(nccl.calls, (Calls{"init", "abort"}));
}

TEST(NcclHandle, ACallThatFailsAtOnceOrLater) {
  FakeNccl nccl;
  auto one = std::make_unique<NcclHandle>(ncclUniqueId{}, 0, 2, c10::Device(c10::kCPU), milliseconds(50), nccl);
  EXPECT_EQ(message_of([&] { one->settle(ncclSuccess, "all_reduce #0"); }), "");
  EXPECT_TRUE(has(message_of([&] { one->settle(ncclSystemError, "all_reduce #1"); }), "NCCL_SOCKET_IFNAME"));
  one.reset();
  auto two = std::make_unique<NcclHandle>(ncclUniqueId{}, 0, 2, c10::Device(c10::kCPU), milliseconds(50), nccl);
  nccl.states = {ncclInProgress, ncclUnhandledCudaError};
  EXPECT_TRUE(has(message_of([&] { two->settle(ncclInProgress, "all_gather #2"); }), "CUDA_LAUNCH_BLOCKING=1"));
  two.reset();
  EXPECT_EQ(nccl.calls, (Calls{"init", "abort", "init", "abort"}));
}

TEST(NcclHandle, DoesNotWaitForPeersWhileAnErrorIsOnItsWayOut) {
  FakeNccl nccl;
  try {
    const auto handle = make(nccl);
    throw std::runtime_error("something else");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(nccl.calls, (Calls{"init", "abort"}));
  nccl.calls.clear();
  nccl.finalize_result = ncclSystemError;
  { const auto handle = make(nccl); }
  EXPECT_EQ(nccl.calls, (Calls{"init", "finalize", "abort"})) << "finalizing failed";
}

}  // namespace
}  // namespace decant::dist
