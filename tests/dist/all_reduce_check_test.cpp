#include "dist/all_reduce_check.h"

#include <gtest/gtest.h>

#include <functional>
#include <utility>

namespace decant::dist {
namespace {

class DoneWork final : public Work {
  bool do_test() override { return true; }
  void do_wait() override {}
};

/// One rank of one whose all-reduce does to the tensor what it is told.
class Liar final : public Communicator {
 public:
  using Lie = std::function<void(torch::Tensor&, Reduce)>;
  explicit Liar(Lie lie) : lie_(std::move(lie)) {}

  int rank() const override { return honest_->rank(); }
  int size() const override { return honest_->size(); }
  std::string backend() const override { return "liar"; }
  torch::Device device() const override { return honest_->device(); }
  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, Reduce op) override {
    lie_(tensor, op);
    return std::make_unique<DoneWork>();
  }
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root) override { return honest_->broadcast(tensor, root); }
  std::unique_ptr<Work> all_gather(torch::Tensor out, torch::Tensor in) override {
    return honest_->all_gather(out, in);
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor out, const std::vector<std::int64_t>& out_counts, torch::Tensor in,
                                   const std::vector<std::int64_t>& in_counts) override {
    return honest_->all_to_all(out, out_counts, in, in_counts);
  }
  std::unique_ptr<Communicator> split(int color) override { return honest_->split(color); }
  void barrier() override {}
  void rendezvous() override {}
  void all_reduce_host(std::vector<double>&, Reduce) override {}
  void all_reduce_host(std::vector<std::int64_t>&, Reduce) override {}
  std::vector<std::string> gather_bytes(const std::string& bytes) override { return {bytes}; }
  std::string broadcast_bytes(const std::string& bytes, int) override { return bytes; }
  double waited_seconds() const override { return 0; }

 private:
  std::unique_ptr<Communicator> honest_ = make_single_communicator(torch::kCPU);
  Lie lie_;
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(AllReduceCheck, AnHonestCommunicatorPasses) {
  EXPECT_TRUE(check_all_reduce(*make_single_communicator(torch::kCPU)).empty());
}

TEST(AllReduceCheck, OneWrongElementIsNamed) {
  Liar liar([](torch::Tensor& tensor, Reduce op) {
    if (op == Reduce::kSum && tensor.scalar_type() == torch::kFloat32 && tensor.numel() == 5003) tensor[4711] += 1;
  });
  const auto found = check_all_reduce(liar);
  ASSERT_EQ(found.size(), 1U);
  // 4711 % 101 is 65.
  EXPECT_TRUE(has(found[0], "sum of 5003 Float: rank 0 has 1 wrong values, at element 4711 66.0")) << found[0];
  EXPECT_TRUE(has(found[0], "instead of 65.0")) << found[0];
}

TEST(AllReduceCheck, ASumThatNobodyMadeAndAShiftedOneAreSeen) {
  EXPECT_EQ(check_all_reduce(*std::make_unique<Liar>([](torch::Tensor& tensor, Reduce) { tensor.zero_(); })).size(),
            27U);  // of 36, those of one element are 0 anyway
  EXPECT_EQ(check_all_reduce(*std::make_unique<Liar>([](torch::Tensor& tensor, Reduce) {
              tensor.copy_(tensor.roll(tensor.numel() / 2));
            })).size(),
            27U);
}

TEST(AllReduceTimes, GrowUpToTheBoundAndTheBudget) {
  const auto one = make_single_communicator(torch::kCPU);
  const auto times = time_all_reduce(*one, {std::chrono::duration<double>(2), std::int64_t{1} << 20});
  ASSERT_EQ(times.size(), 5U);
  EXPECT_EQ(times.front().bytes, 8);
  EXPECT_EQ(times.back().bytes, 1 << 20);
  for (const AllReduceTime& time : times) {
    EXPECT_GE(time.repeats, 5);
    EXPECT_LE(time.fastest_seconds, time.seconds);
    EXPECT_LE(time.seconds, time.slowest_seconds);
    EXPECT_DOUBLE_EQ(time.algbw, static_cast<double>(time.bytes) / time.seconds);
    EXPECT_EQ(time.busbw, 0);  // one rank needs no bus
  }
  EXPECT_EQ(time_all_reduce(*one, {std::chrono::duration<double>(0), std::int64_t{1} << 20}).size(), 1U);
}

}  // namespace
}  // namespace decant::dist
