// On a device: the walk over the catalogue, its gradients, the best items and ranks are the CPU's.
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/cuda.h>

#include "models/ops/walk.h"
#include "tests/models/packed_batch.h"

namespace decant::models {
namespace {

/// Hidden rows and tables are multiples of 1/64: logits are exact in any order of summation, and ties are ties.
class CatalogueCuda : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
    torch::manual_seed(0);
    hidden_ = grid({kRows, kDim});
    table_ = grid({kItems, kDim});
    ids_ = torch::rand({kRows, kItems}).argsort(std::int64_t{1}, false).narrow(1, 0, 12).contiguous();
  }
  static torch::Tensor grid(at::IntArrayRef shape) { return torch::randint(-64, 65, shape).to(torch::kFloat32) / 64; }

  static constexpr std::int64_t kRows = 700, kItems = 5003, kDim = 32;  // several chunks of rows, several tiles
  const torch::Device cuda_{torch::kCUDA, 0};
  torch::Tensor hidden_, table_, ids_;
};

TEST_F(CatalogueCuda, WalkAndGradientsEqualTheCpu) {
  for (const std::int64_t excluded : {0L, 10L}) {
    const std::vector<double> temperatures{1, 1.5, 4};
    const auto run = [&](torch::Device device) {
      const auto hidden = hidden_.to(device).requires_grad_(), table = table_.to(device).requires_grad_();
      const auto walked = walk_catalogue(hidden, table, {temperatures, ids_.to(device), excluded});
      const auto sum = walked.lse.square().sum() + (walked.logits * 0.3).sum();
      const auto grads = torch::autograd::grad({sum}, {hidden, table});
      return std::vector{walked.lse.detach().cpu(), walked.logits.detach().cpu(), grads[0].cpu(), grads[1].cpu()};
    };
    const auto here = run(torch::kCPU), there = run(cuda_);
    EXPECT_LT(test::difference(here[0], there[0]), 1e-5) << excluded;
    EXPECT_TRUE(here[1].equal(there[1])) << excluded;
    for (const int grad : {2, 3})
      EXPECT_LT(test::difference(here[grad], there[grad]), 1e-4 * here[grad].abs().max().item<double>()) << excluded;
  }
}

TEST_F(CatalogueCuda, TopKAndRanksEqualTheCpu) {
  const auto targets = ids_.select(1, 0).contiguous(), seen = ids_.narrow(1, 1, 11).contiguous();
  const auto best = topk_catalogue(hidden_, table_, {100, {1, 2}, targets});
  const auto there = topk_catalogue(hidden_.to(cuda_), table_.to(cuda_), {100, {1, 2}, targets.to(cuda_)});
  EXPECT_TRUE(best.ids.equal(there.ids.cpu()));
  EXPECT_TRUE(best.logits.equal(there.logits.cpu()));
  EXPECT_LT(test::difference(best.rest_lse, there.rest_lse.cpu()), 1e-5);
  EXPECT_TRUE(best.target_rank.equal(there.target_rank.cpu()));
  const auto ranks = rank_in_catalogue(hidden_, table_, targets, seen);
  const auto ranks_there = rank_in_catalogue(hidden_.to(cuda_), table_.to(cuda_), targets.to(cuda_), seen.to(cuda_));
  EXPECT_TRUE(ranks.all.equal(ranks_there.all.cpu()));
  EXPECT_TRUE(ranks.unseen.equal(ranks_there.unseen.cpu()));
}

}  // namespace
}  // namespace decant::models
