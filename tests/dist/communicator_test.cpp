#include "dist/communicator.h"

#include <gtest/gtest.h>

#include "dist/errors.h"

namespace decant::dist {
namespace {

TEST(SingleCommunicator, KnowsItself) {
  const auto single = make_single_communicator(torch::kCPU);
  EXPECT_EQ(single->rank(), 0);
  EXPECT_EQ(single->size(), 1);
  EXPECT_EQ(single->backend(), "single");
  EXPECT_EQ(single->device(), torch::Device(torch::kCPU));
  EXPECT_EQ(single->waited_seconds(), 0);
}

TEST(SingleCommunicator, CollectivesAreThoseOfOneRank) {
  const auto single = make_single_communicator(torch::kCPU);
  const torch::Tensor tensor = torch::arange(5, torch::kFloat32);
  const auto work = single->all_reduce(tensor, Reduce::kSum);
  EXPECT_TRUE(work->test());
  work->wait();
  single->broadcast(tensor, 0)->wait();
  EXPECT_TRUE(torch::equal(tensor, torch::arange(5, torch::kFloat32)));
  const torch::Tensor out = torch::zeros({1, 5});
  single->all_gather(out, tensor)->wait();
  EXPECT_TRUE(torch::equal(out[0], tensor));
  single->all_gather(tensor, tensor)->wait();  // onto itself
  single->all_to_all(out.zero_(), {5}, tensor, {5})->wait();
  EXPECT_TRUE(torch::equal(out[0], tensor));
  EXPECT_EQ(single->split(3)->size(), 1);
  single->barrier();
  std::vector<double> doubles{1.5};
  single->all_reduce_host(doubles, Reduce::kSum);
  EXPECT_EQ(doubles, std::vector<double>{1.5});
  std::vector<std::int64_t> integers{3};
  single->all_reduce_host(integers, Reduce::kMin);
  EXPECT_EQ(integers, std::vector<std::int64_t>{3});
  EXPECT_EQ(single->gather_bytes("ab"), std::vector<std::string>{"ab"});
  EXPECT_EQ(single->broadcast_bytes("ab", 0), "ab");
}

TEST(SingleCommunicator, RefusesWhatTheOthersRefuse) {
  const auto single = make_single_communicator(torch::kCPU);
  EXPECT_THROW((void)single->all_reduce(torch::zeros({2, 2}).t(), Reduce::kSum), CommError);
  EXPECT_THROW((void)single->all_reduce(torch::zeros({2}, torch::kInt32), Reduce::kSum), CommError);
  EXPECT_THROW((void)single->all_reduce({}, Reduce::kSum), CommError);
  EXPECT_THROW((void)single->broadcast(torch::zeros({2}), 1), CommError);
  EXPECT_THROW((void)single->broadcast_bytes("", 1), CommError);
  EXPECT_THROW((void)single->all_gather(torch::zeros({3}), torch::zeros({2})), CommError);
  const torch::Tensor two = torch::zeros({2});
  EXPECT_THROW((void)single->all_to_all(two, {2}, torch::zeros({2}, torch::kInt64), {2}), CommError);
  EXPECT_THROW((void)single->all_to_all(two, {2}, two, {3}), CommError);
  EXPECT_THROW((void)single->all_to_all(two, {1, 1}, two, {2}), CommError);
  EXPECT_THROW((void)single->all_to_all(two, {2}, two, {1}), CommError);
}

TEST(CommError, NamesOperationSequenceBytesAndTime) {
  const CommError error("all_reduce", 12, 4096, std::chrono::milliseconds(2345), "no answer");
  EXPECT_STREQ(error.what(), "all_reduce #12 of 4096 bytes, after waiting 2.3 s: no answer");
  EXPECT_EQ(error.code(), base::ExitCode::kCommunication);
}

TEST(Nccl, IdentityIsThatOfLibTorchOrEmpty) {
#ifdef DECANT_WITH_CUDA
  EXPECT_NE(nccl_identity().find("libnccl.so"), std::string::npos) << nccl_identity();
#else
  EXPECT_EQ(nccl_identity(), "");
#endif
}

}  // namespace
}  // namespace decant::dist
