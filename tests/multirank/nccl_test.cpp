#include <c10/core/DeviceGuard.h>
#include <gtest/gtest.h>
#include <torch/cuda.h>

#include <thread>

#include "base/errors.h"
#include "dist/communicator.h"
#include "dist/gradient_reducer.h"
#include "tests/multirank/world.h"

namespace decant::multirank {
namespace {

using dist::Reduce;
using torch::Tensor;

bool have_devices() { return static_cast<int>(torch::cuda::device_count()) >= session().local_size(); }

torch::Device own_device() { return {torch::kCUDA, static_cast<c10::DeviceIndex>(session().local_rank())}; }

std::string error_of(const torch::Device& device) {
  try {
    (void)dist::make_nccl_communicator(session(), device, {std::chrono::seconds(20)});
  } catch (const base::ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(NcclCommunicator, SaysOnEveryRankWhyItCannotBeMade) {
#ifdef DECANT_WITH_CUDA
  EXPECT_EQ(error_of(torch::kCPU), "rank 0: NCCL takes CUDA devices, not cpu");
  if (torch::cuda::device_count() == 0) {
    EXPECT_EQ(error_of({torch::kCUDA, 0}),
              "rank 0: no CUDA device is there (does nvidia-smi list one?); run on the CPU with the MPI backend");
  } else {
    EXPECT_NE(error_of({torch::kCUDA, 63}).find("rank 0: cuda:63 is not one of the "), std::string::npos);
  }
  if (torch::cuda::device_count() > 0 && session().local_size() > 1) {
    EXPECT_NE(error_of({torch::kCUDA, 0}).find("ranks 0 and 1 use the same GPU"), std::string::npos);
  }
#else
  EXPECT_NE(error_of({torch::kCUDA, 0}).find("NCCL needs a build with CUDA"), std::string::npos);
#endif
}

TEST(NcclCommunicator, IsTheOneOfLibTorch) {
#ifdef DECANT_WITH_CUDA
  EXPECT_EQ(dist::nccl_identity().find("NCCL 2."), 0u) << dist::nccl_identity();
  EXPECT_NE(dist::nccl_identity().find("libnccl.so"), std::string::npos) << dist::nccl_identity();
#else
  EXPECT_EQ(dist::nccl_identity(), "");
#endif
}

TEST(NcclCommunicator, ReducesGathersAndBroadcasts) {
  if (!have_devices()) GTEST_SKIP() << "needs a GPU for each rank";
  const auto nccl = dist::make_nccl_communicator(session(), own_device(), {std::chrono::seconds(60)});
  const int n = nccl->size(), rank = nccl->rank();
  for (const std::int64_t size : {1, 1000, 4'000'003}) {
    Tensor sum = torch::full({size}, rank + 1.0, own_device());
    const auto work = nccl->all_reduce(sum, Reduce::kSum);
    work->wait();
    EXPECT_TRUE(sum.eq(n * (n + 1) / 2).all().item<bool>()) << size;
    EXPECT_TRUE(work->test());
    Tensor best = torch::full({size}, rank, torch::TensorOptions().dtype(torch::kInt64).device(own_device()));
    nccl->all_reduce(best, Reduce::kMax)->wait();
    EXPECT_TRUE(best.eq(n - 1).all().item<bool>());
    nccl->broadcast(best.fill_(rank), n - 1)->wait();
    EXPECT_TRUE(best.eq(n - 1).all().item<bool>());
    Tensor all = torch::zeros({n, size}, own_device());
    nccl->all_gather(all, torch::full({size}, rank, own_device()).to(torch::kFloat32))->wait();
    for (int r = 0; r < n; ++r) EXPECT_TRUE(all[r].eq(r).all().item<bool>());
  }
  std::vector<double> host{1};
  nccl->all_reduce_host(host, Reduce::kSum);
  EXPECT_EQ(host[0], n);
}

TEST(NcclCommunicator, SumsBfloat16AsMpiDoes) {
  if (!have_devices()) GTEST_SKIP() << "needs a GPU for each rank";
  const auto nccl = dist::make_nccl_communicator(session(), own_device(), {std::chrono::seconds(60)});
  for (const std::int64_t size : {1, 3, 1000, 4'000'003}) {
    auto generator = at::detail::createCPUGenerator(40 + nccl->rank());
    Tensor host = torch::randn({size}, generator, torch::kFloat32).to(torch::kBFloat16), device = host.to(own_device());
    nccl->all_reduce(device, Reduce::kSum)->wait();
    world().all_reduce(host, Reduce::kSum)->wait();
    EXPECT_TRUE(torch::equal(device.cpu(), host)) << size;
  }
}

TEST(NcclCommunicator, ExchangesUnequalPartsAndSplits) {
  if (!have_devices()) GTEST_SKIP() << "needs a GPU for each rank";
  const auto nccl = dist::make_nccl_communicator(session(), own_device(), {std::chrono::seconds(60)});
  const int n = nccl->size(), rank = nccl->rank();
  std::vector<std::int64_t> in_counts, out_counts;
  std::vector<Tensor> in, wanted;
  for (int peer = 0; peer < n; ++peer) {
    in_counts.push_back((rank + peer) % 3 * 1000), out_counts.push_back((peer + rank) % 3 * 1000);
    in.push_back(torch::full({in_counts.back()}, rank * n + peer, own_device()).to(torch::kFloat32));
    wanted.push_back(torch::full({out_counts.back()}, peer * n + rank, own_device()).to(torch::kFloat32));
  }
  Tensor out = torch::zeros_like(torch::cat(wanted));
  nccl->all_to_all(out, out_counts, torch::cat(in), in_counts)->wait();
  EXPECT_TRUE(torch::equal(out, torch::cat(wanted)));
  const auto half = nccl->split(rank % 2);
  EXPECT_EQ(half->rank(), rank / 2);
  Tensor ones = torch::ones({4}, own_device());
  half->all_reduce(ones, Reduce::kSum)->wait();
  EXPECT_TRUE(ones.eq(half->size()).all().item<bool>());
}

TEST(NcclCommunicator, ATensorMayGoAwayBeforeItsWorkIsDone) {
  if (!have_devices()) GTEST_SKIP() << "needs a GPU for each rank";
  const auto nccl = dist::make_nccl_communicator(session(), own_device(), {std::chrono::seconds(60)});
  for (int i = 0; i < 50; ++i) {
    (void)nccl->all_reduce(torch::ones({1 << 20}, own_device()), Reduce::kSum);
    Tensor other = torch::full({1 << 20}, 7.0, own_device());  // would get the same memory
    ASSERT_TRUE(other.eq(7).all().item<bool>());
  }
}

TEST(NcclCommunicator, ReducesGradientsFromHooks) {
  if (!have_devices()) GTEST_SKIP() << "needs a GPU for each rank";
  const auto nccl = dist::make_nccl_communicator(session(), own_device(), {std::chrono::seconds(60)});
  std::vector<Tensor> parameters, twins;
  for (int i = 0; i < 12; ++i) {
    parameters.push_back((torch::ones({512, 512}, own_device()) * 0.002 * (i % 3 + 1)).requires_grad_());
    twins.push_back(parameters.back().detach().clone().requires_grad_());
  }
  const auto loss = [](const std::vector<Tensor>& weights, int rank) {
    Tensor x = torch::ones({64, 512}, weights[0].device()) * (rank + 1);
    for (const Tensor& weight : weights) x = torch::tanh(torch::matmul(x, weight));
    return x.sum();
  };
  dist::GradientReducer reducer(parameters, *nccl, {.first_bucket_bytes = 1 << 20, .bucket_bytes = 3 << 20});
  for (int round = 0; round < 5; ++round) {
    reducer.begin();
    const Tensor mine = loss(parameters, nccl->rank());
    reducer.arm();
    mine.backward();
    (void)reducer.finish();
    for (Tensor& twin : twins) twin.mutable_grad() = Tensor();
    for (int rank = 0; rank < nccl->size(); ++rank) loss(twins, rank).backward();
    for (std::size_t i = 0; i < twins.size(); ++i)
      EXPECT_TRUE(torch::allclose(parameters[i].grad(), twins[i].grad(), 1e-4, 1e-6)) << i;
  }
}

}  // namespace
}  // namespace decant::multirank
