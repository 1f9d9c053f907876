#include "dist/gradient_reducer.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <cmath>
#include <functional>
#include <stdexcept>
#include <thread>

#include "dist/errors.h"
#include "tests/multirank/world.h"

namespace decant::multirank {
namespace {

using torch::Tensor;

/// A net with small and large parameters, a table used sparsely, and one that only some samples use.
struct Net {
  std::vector<Tensor> parameters;

  explicit Net(torch::ScalarType type = torch::kFloat32) {
    auto generator = at::detail::createCPUGenerator(7);
    const std::vector<std::vector<std::int64_t>> shapes{{3000, 16}, {16, 33}, {33}, {33, 9}, {9}, {5}};
    for (const auto& shape : shapes)
      parameters.push_back((torch::randn(shape, generator, torch::kFloat64) * 0.3).to(type).requires_grad_());
  }
  [[nodiscard]] Tensor loss(int sample) const {
    const Tensor ids = (torch::arange(20, torch::kInt64) * (sample * 7 + 3)) % 3000;
    const Tensor hidden = torch::tanh(torch::matmul(parameters[0].index_select(0, ids), parameters[1]) + parameters[2]);
    Tensor out = (torch::matmul(hidden, parameters[3]) + parameters[4]).square().sum();
    if (sample % 3 == 0) out = out + (parameters[5] * parameters[4].narrow(0, 0, 5)).sum();
    return out;
  }
};

/// Small, so that there are many buckets.
constexpr dist::ReducerOptions kSmall{.first_bucket_bytes = 100, .bucket_bytes = 2000};

/// Gradients of the sum over all samples, in double precision, on one process.
std::vector<Tensor> reference(const std::vector<int>& samples) {
  const Net net(torch::kFloat64);
  for (const int sample : samples) net.loss(sample).backward();
  std::vector<Tensor> out;
  for (const Tensor& parameter : net.parameters)
    out.push_back(parameter.grad().defined() ? parameter.grad() : torch::zeros_like(parameter));
  return out;
}

void expect_gradients(const Net& net, const std::vector<int>& samples) {
  const auto expected = reference(samples);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Tensor got = net.parameters[i].grad().to(torch::kFloat64);
    const double error =
        (got - expected[i]).abs().max().item<double>() / (expected[i].abs().max().item<double>() + 1e-9);
    EXPECT_LT(error, 1e-6) << "parameter " << i;
  }
}

/// The samples of all ranks, `per_rank[r]` of them on rank r, and those of this rank.
struct Shares {
  std::vector<int> all, mine;
  explicit Shares(const std::function<int(int)>& count_of, int first = 0) {
    for (int rank = 0; rank < world().size(); ++rank)
      for (int i = 0; i < count_of(rank); ++i) {
        all.push_back(first + static_cast<int>(all.size()));
        if (rank == world().rank()) mine.push_back(all.back());
      }
  }
};

void step(dist::GradientReducer& reducer, const Net& net, const std::vector<int>& samples) {
  reducer.begin();
  for (const int& sample : samples) {
    const Tensor loss = net.loss(sample);
    if (&sample == &samples.back()) reducer.arm();
    loss.backward();
  }
  (void)reducer.finish();
}

TEST(GradientReducer, EqualsTheSumOfOneProcess) {
  for (const auto& options : {kSmall, dist::ReducerOptions{}}) {
    const Net net;
    dist::GradientReducer reducer(net.parameters, world(), options);
    for (int round = 0; round < 3; ++round) {
      const Shares shares([](int) { return 1; }, round * 10);
      step(reducer, net, shares.mine);
      expect_gradients(net, shares.all);
    }
  }
}

TEST(GradientReducer, AccumulatesMicroBatchesOfDifferentCounts) {
  const Net net;
  dist::GradientReducer reducer(net.parameters, world(), kSmall);
  const Shares shares([](int rank) { return 1 + rank % 3; });
  step(reducer, net, shares.mine);
  expect_gradients(net, shares.all);
}

TEST(GradientReducer, ARankWithoutAMicroBatchTakesPart) {
  const Net net;
  dist::GradientReducer reducer(net.parameters, world(), kSmall);
  for (int idle = 0; idle < world().size(); ++idle) {
    const Shares shares([&](int rank) { return rank == idle ? 0 : 2; });
    step(reducer, net, shares.mine);
    expect_gradients(net, shares.all);
  }
}

TEST(GradientReducer, GivesTheSameBitsOnEveryRankAndEveryTime) {
  std::vector<std::string> bits;
  for (int time = 0; time < 2; ++time) {
    const Net net;
    dist::GradientReducer reducer(net.parameters, world(), kSmall);
    step(reducer, net, Shares([](int) { return 2; }).mine);
    for (const Tensor& flat : reducer.buckets()) {
      const std::string bytes(static_cast<const char*>(flat.const_data_ptr()), flat.nbytes());
      if (time == 0) bits.push_back(bytes);
      EXPECT_EQ(bits[static_cast<std::size_t>(&flat - reducer.buckets().data())], bytes);
      for (const auto& other : world().gather_bytes(bytes)) EXPECT_EQ(other, bytes);
    }
  }
}

/// Sum over ranks of |what each rank adds|, in double precision: what the bounds of rounding are shares of.
std::vector<Tensor> magnitudes(const std::function<int(int)>& count_of) {
  std::vector<Tensor> out;
  int first = 0;
  for (int rank = 0; rank < world().size(); ++rank) {
    std::vector<int> samples(static_cast<std::size_t>(count_of(rank)));
    for (int& sample : samples) sample = first++;
    const auto part = reference(samples);
    for (std::size_t i = 0; i < part.size(); ++i)
      if (rank == 0)
        out.push_back(part[i].abs());
      else
        out[i] += part[i].abs();
  }
  return out;
}

TEST(GradientReducer, Bfloat16OnTheWireErrsByTwoRoundingsAtAnyNumberOfRanks) {
  const auto count_of = [](int rank) { return 1 + rank % 3; };
  const Net net;
  dist::ReducerOptions options = kSmall;
  options.reduce_dtype = torch::kBFloat16;
  dist::GradientReducer reducer(net.parameters, world(), options);
  for (int round = 0; round < 2; ++round) {  // the second one finds the buffers of the first
    const Shares shares(count_of);
    step(reducer, net, shares.mine);
    const auto exact = reference(shares.all), size = magnitudes(count_of);
    bool rounded = false;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const Tensor error = (net.parameters[i].grad().to(torch::kFloat64) - exact[i]).abs();
      const double float32 = 1e-6 * size[i].max().item<double>();  // of the gradients themselves
      // Eight bits of significand: a rounding errs by 2^-8 at most.
      EXPECT_TRUE((error <= size[i] * std::exp2(-7) * 1.01 + float32).all().item<bool>()) << "parameter " << i;
      rounded = rounded || (error > 10 * float32).any().item<bool>();
    }
    EXPECT_EQ(rounded, world().size() > 1);  // else it measured nothing
  }
  for (const Tensor& flat : reducer.buckets()) {
    const std::string bytes(static_cast<const char*>(flat.const_data_ptr()), flat.nbytes());
    for (const auto& other : world().gather_bytes(bytes)) EXPECT_EQ(other, bytes);
  }
  dist::GradientReducer plain(Net().parameters, world(), kSmall);
  plain.begin();
  reducer.begin();
  EXPECT_EQ(plain.finish().bytes, reducer.finish().bytes * (world().size() > 1 ? 2 : 1));
}

TEST(GradientReducer, Bfloat16OnTheWireKeepsWhatIsNotFiniteAndOtherTypes) {
  const Tensor narrow = torch::zeros({100}).requires_grad_();
  const Tensor wide = torch::zeros({100}, torch::kFloat64).requires_grad_();
  dist::GradientReducer reducer({narrow, wide}, world(), {.reduce_dtype = torch::kBFloat16});
  reducer.begin();
  reducer.arm();
  const double third = 1.0 / 3;
  (narrow.sum() * (world().rank() == world().size() - 1 ? std::nan("") : 1.0) + wide.sum() * third).backward();
  (void)reducer.finish();
  EXPECT_TRUE(torch::isnan(narrow.grad()).all().item<bool>());
  EXPECT_NEAR(wide.grad()[7].item<double>(), third * world().size(), 1e-12);
  EXPECT_THROW(dist::GradientReducer({narrow}, world(), {.reduce_dtype = torch::kHalf}), dist::CommError);
}

TEST(GradientReducer, CountsBytesAndExposedSeconds) {
  const Net net;
  dist::GradientReducer reducer(net.parameters, world(), kSmall);
  reducer.begin();
  if (world().rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const dist::ReducerStats stats = reducer.finish();
  std::int64_t bytes = 0;
  for (const Tensor& flat : reducer.buckets()) bytes += static_cast<std::int64_t>(flat.nbytes());
  EXPECT_EQ(stats.bytes, bytes);
  if (world().rank() > 0) {
    EXPECT_GT(stats.exposed_seconds, 0.05);
  }
  EXPECT_LT(stats.exposed_seconds, 10);
}

TEST(GradientReducer, TellsWhichShareBackwardHid) {
  if (world().size() == 1) GTEST_SKIP() << "one rank exchanges nothing";
  const Net net;
  dist::GradientReducer reducer(net.parameters, world(), kSmall);
  // Nothing is ready before finish(), and the others are late for it: all of the exchange is seen.
  reducer.begin();
  if (world().rank() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(400));
  dist::ReducerStats stats = reducer.finish();
  if (world().rank() == 0) {
    EXPECT_GT(stats.exchange_seconds, 0.05);
    EXPECT_LT(stats.hidden(), 0.2);
  }
  // Everything is ready, and there, before finish().
  reducer.begin();
  reducer.arm();
  net.loss(0).backward();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  world().barrier();  // whoever waits for one operation moves all of them on
  stats = reducer.finish();
  EXPECT_GT(stats.exchange_seconds, 0);
  EXPECT_LE(stats.exposed_seconds, stats.exchange_seconds);
  EXPECT_GT(stats.hidden(), 0.5);
}

/// Throws in the backward pass of the rank that is told to, after some gradients are ready.
struct Bomb : torch::autograd::Function<Bomb> {
  static Tensor forward(torch::autograd::AutogradContext*, const Tensor& x) { return x.clone(); }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*, torch::autograd::variable_list) {
    throw std::runtime_error("bomb");
  }
};

TEST(GradientReducer, IsUsableAfterAnExceptionOnOneRankOrAll) {
  const Net net;
  dist::GradientReducer reducer(net.parameters, world(), kSmall);
  for (const bool everywhere : {false, true}) {
    reducer.begin();
    const bool here = everywhere || world().rank() == world().size() - 1;
    // Through the bomb flows the gradient of the table only, which comes last.
    const Tensor through = here ? Bomb::apply(net.parameters[0]) : net.parameters[0];
    const Tensor loss = torch::matmul(through.narrow(0, 0, 4), net.parameters[1]).sum() + net.parameters[3].sum() +
                        net.parameters[4].sum();
    reducer.arm();
    if (here) {
      EXPECT_THROW(loss.backward(), std::runtime_error);
    } else {
      loss.backward();
      (void)reducer.finish();
    }
    const Shares shares([](int) { return 1; });
    step(reducer, net, shares.mine);  // its begin() ends what was begun
    expect_gradients(net, shares.all);
  }
}

TEST(GradientReducer, RefusesDifferentParameters) {
  if (world().size() == 1) return;
  const std::vector<Tensor> parameters{torch::zeros({4 + world().rank() % 2}).requires_grad_()};
  try {
    const dist::GradientReducer reducer(parameters, world());
    ADD_FAILURE() << "accepted";
  } catch (const dist::CommError& error) {
    EXPECT_STREQ(error.what(),
                 "ranks 0 and 1 have different parameters: do all of them have the same job file and data?");
  }
}

}  // namespace
}  // namespace decant::multirank
