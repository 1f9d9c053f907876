#include "dist/gradient_reducer.h"

#include <gtest/gtest.h>
#include <torch/autograd.h>

#include <optional>
#include <stdexcept>

#include "dist/errors.h"

namespace decant::dist {
namespace {

using torch::Tensor;

/// Records what is exchanged and when; adds nothing.
class Recorder final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string backend() const override { return "recorder"; }
  torch::Device device() const override { return torch::kCPU; }
  std::unique_ptr<Work> all_reduce(Tensor tensor, Reduce) override {
    events.push_back("launch " + std::to_string(tensor.numel()));
    return std::make_unique<Noted>(*this);
  }
  std::unique_ptr<Work> broadcast(Tensor, int) override { return nullptr; }
  std::unique_ptr<Work> all_gather(Tensor, Tensor) override { return nullptr; }
  std::unique_ptr<Work> all_to_all(Tensor, const std::vector<std::int64_t>&, Tensor,
                                   const std::vector<std::int64_t>&) override {
    return nullptr;
  }
  std::unique_ptr<Communicator> split(int) override { return nullptr; }
  void barrier() override {}
  void rendezvous() override {}
  void all_reduce_host(std::vector<double>&, Reduce) override {}
  void all_reduce_host(std::vector<std::int64_t>&, Reduce) override {}
  std::vector<std::string> gather_bytes(const std::string& bytes) override { return {bytes}; }
  std::string broadcast_bytes(const std::string& bytes, int) override { return bytes; }
  double waited_seconds() const override { return 0; }

  std::vector<std::string> events;
  int tests = 0;

 private:
  struct Noted final : Work {
    explicit Noted(Recorder& to) : recorder(to) {}
    bool do_test() override { return ++recorder.tests > 0; }
    void do_wait() override { recorder.events.emplace_back("wait"); }
    Recorder& recorder;
  };
};

using Events = std::vector<std::string>;

/// Marks the moment at which the gradient passes.
struct Mark : torch::autograd::Function<Mark> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x, Recorder* recorder, bool fail) {
    context->saved_data["recorder"] = reinterpret_cast<std::int64_t>(recorder);
    context->saved_data["fail"] = fail;
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    if (context->saved_data["fail"].toBool()) throw std::runtime_error("planted");
    reinterpret_cast<Recorder*>(context->saved_data["recorder"].toInt())->events.emplace_back("mark");
    return {gradients[0], Tensor(), Tensor()};
  }
};

Tensor parameter(std::vector<std::int64_t> shape, int seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return torch::randn(shape, generator, torch::kFloat32).requires_grad_();
}

class Reducer : public testing::Test {
 protected:
  std::vector<Tensor> weights_{parameter({7, 16}, 1), parameter({16, 16}, 2), parameter({16, 3}, 3), parameter({4}, 4)};
  std::unique_ptr<Communicator> single_ = make_single_communicator(torch::kCPU);

  /// The last weight is not used; the second one twice.
  [[nodiscard]] static Tensor loss(const std::vector<Tensor>& w, int batch) {
    const Tensor x = torch::full({5, 7}, 0.1 * (batch + 1));
    return torch::matmul(torch::matmul(torch::tanh(torch::matmul(torch::matmul(x, w[0]), w[1])), w[1]), w[2]).sum();
  }
  [[nodiscard]] std::vector<Tensor> plain_gradients(int first, int count) const {
    std::vector<Tensor> twins, out;
    for (const Tensor& weight : weights_) twins.push_back(weight.detach().clone().requires_grad_());
    for (int batch = first; batch < first + count; ++batch) loss(twins, batch).backward();
    for (const Tensor& twin : twins) out.push_back(twin.grad().defined() ? twin.grad() : torch::zeros_like(twin));
    return out;
  }
  void expect_plain(int first, int count) const {
    const auto expected = plain_gradients(first, count);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(torch::equal(weights_[i].grad(), expected[i])) << i;
  }
};

TEST_F(Reducer, EqualsPlainGradientsOverMicroBatches) {
  for (const ReducerOptions options : {ReducerOptions{}, ReducerOptions{.first_bucket_bytes = 1, .bucket_bytes = 1}}) {
    GradientReducer reducer(weights_, *single_, options);
    for (int round = 0; round < 3; ++round) {
      reducer.begin();
      for (int batch = 0; batch < 3; ++batch) {
        const Tensor value = loss(weights_, round * 3 + batch);
        if (batch == 2) reducer.arm();
        value.backward();
      }
      const ReducerStats stats = reducer.finish();
      expect_plain(round * 3, 3);
      EXPECT_GE(stats.bytes, (7 * 16 + 16 * 16 + 16 * 3 + 4) * 4);
    }
  }
}

TEST_F(Reducer, GradientsStayInTheirBucketsOverSteps) {
  GradientReducer reducer(weights_, *single_, {.first_bucket_bytes = 512, .bucket_bytes = 512});
  std::vector<const void*> addresses;
  for (const Tensor& weight : weights_) addresses.push_back(weight.grad().const_data_ptr());
  for (int round = 0; round < 3; ++round) {
    reducer.begin();
    const Tensor value = loss(weights_, round);
    reducer.arm();
    value.backward();
    (void)reducer.finish();
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      EXPECT_EQ(weights_[i].grad().const_data_ptr(), addresses[i]);
      EXPECT_EQ(weights_[i].grad().sizes(), weights_[i].sizes());
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(addresses[i]) % 64, 0u);
    }
    // The buckets hold the gradients and zeros between them, so the norm of one is the norm of the other.
    double flat = 0, single = 0;
    for (const Tensor& bucket : reducer.buckets()) flat += bucket.square().sum().item<double>();
    for (const Tensor& weight : weights_) single += weight.grad().square().sum().item<double>();
    EXPECT_NEAR(flat, single, 1e-6 * single);
  }
}

TEST_F(Reducer, AStepWithoutAMicroBatchIsZero) {
  GradientReducer reducer(weights_, *single_);
  loss(weights_, 0).backward();
  reducer.begin();
  (void)reducer.finish();
  for (const Tensor& weight : weights_) EXPECT_EQ(weight.grad().abs().max().item<float>(), 0);
}

TEST_F(Reducer, ZeroGradWithoutNoneIsHarmlessAndWithNoneIsAnError) {
  GradientReducer reducer(weights_, *single_);
  reducer.begin();
  weights_[0].mutable_grad().detach_();
  weights_[0].mutable_grad().zero_();
  reducer.begin();
  weights_[0].mutable_grad() = Tensor();
  EXPECT_THROW((void)reducer.finish(), std::logic_error);
  EXPECT_THROW(reducer.begin(), std::logic_error);
}

TEST_F(Reducer, CreateGraphIsAnError) {
  GradientReducer reducer(weights_, *single_);
  reducer.begin();
  const Tensor value = loss(weights_, 0);
  reducer.arm();
  EXPECT_THROW(value.backward({}, true, /*create_graph=*/true), std::logic_error);
}

TEST_F(Reducer, TwoBackwardPassesAfterArmAreAnError) {
  GradientReducer reducer(weights_, *single_);
  reducer.begin();
  reducer.arm();
  loss(weights_, 0).backward();
  EXPECT_THROW(loss(weights_, 1).backward(), std::logic_error);
}

TEST_F(Reducer, IsUsableAfterAnExceptionInTheMiddle) {
  Recorder recorder;
  GradientReducer reducer(weights_, recorder, {.first_bucket_bytes = 1, .bucket_bytes = 1});
  reducer.begin();
  const Tensor failing = (Mark::apply(weights_[0], &recorder, true).sum() + weights_[2].sum() + weights_[3].sum());
  reducer.arm();
  EXPECT_THROW(failing.backward(), std::runtime_error);
  recorder.events.clear();
  reducer.begin();  // takes part in what the other ranks have launched or will
  EXPECT_EQ(std::count(recorder.events.begin(), recorder.events.end(), "wait"), 4);
  recorder.events.clear();
  const Tensor value = loss(weights_, 5);
  reducer.arm();
  value.backward();
  (void)reducer.finish();
  expect_plain(5, 1);
  EXPECT_EQ(recorder.events.size(), 8u);
}

TEST(ReducerBuckets, AreInReverseOrderFirstSmallThenUpToTheCap) {
  Recorder recorder;
  const std::vector<Tensor> weights{parameter({64}, 0), parameter({64}, 1), parameter({64}, 2),
                                    parameter({64}, 3), parameter({64}, 4), parameter({64}, 5)};  // 256 bytes each
  const GradientReducer reducer(weights, recorder, {.first_bucket_bytes = 256, .bucket_bytes = 600});
  std::vector<std::int64_t> sizes;
  for (const Tensor& bucket : reducer.buckets()) sizes.push_back(bucket.numel());
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{64, 128, 128, 64}));
  EXPECT_EQ(weights[5].grad().const_data_ptr(), reducer.buckets()[0].const_data_ptr());
  EXPECT_EQ(weights[0].grad().const_data_ptr(), reducer.buckets()[3].const_data_ptr());
}

TEST(ReducerBuckets, WithoutABoundAreAnEighthOfAll) {
  Recorder recorder;
  std::vector<Tensor> weights;
  for (int i = 0; i < 32; ++i) weights.push_back(parameter({64}, i));  // 8 KiB
  const GradientReducer reducer(weights, recorder, {.first_bucket_bytes = 256});
  std::vector<std::int64_t> sizes;
  for (const Tensor& bucket : reducer.buckets()) sizes.push_back(bucket.numel());
  EXPECT_EQ(sizes, (std::vector<std::int64_t>{64, 256, 256, 256, 256, 256, 256, 256, 192}));
}

TEST(ReducerBuckets, ALargeOneIsAloneAndTypesAreApart) {
  Recorder recorder;
  const Tensor large = parameter({1000}, 1), small = parameter({3}, 2), fixed = torch::zeros({5});
  const Tensor wide = torch::zeros({10}, torch::kFloat64).requires_grad_();
  const GradientReducer reducer({small, large, fixed, wide, small.detach().clone().requires_grad_()}, recorder,
                                {.first_bucket_bytes = 256, .bucket_bytes = 256});
  std::vector<std::pair<std::int64_t, torch::ScalarType>> found;
  for (const Tensor& bucket : reducer.buckets()) found.emplace_back(bucket.numel(), bucket.scalar_type());
  EXPECT_EQ(found, (std::vector<std::pair<std::int64_t, torch::ScalarType>>{
                       {16, torch::kFloat32}, {16, torch::kFloat64}, {1008, torch::kFloat32}, {16, torch::kFloat32}}));
  EXPECT_FALSE(fixed.grad().defined());
}

TEST(ReducerBuckets, AreLaunchedDuringBackwardAndInOrder) {
  Recorder recorder;
  const std::vector<Tensor> weights{parameter({16}, 1), parameter({32}, 2), parameter({48}, 3)};
  GradientReducer reducer(weights, recorder, {.first_bucket_bytes = 1, .bucket_bytes = 1});
  reducer.begin();
  // y = w2 * mark(w1 * mark(w0)): gradients come for w2, then w1, then w0.
  const Tensor y = weights[2].sum() *
                   Mark::apply(weights[1].sum() * Mark::apply(weights[0].sum(), &recorder, false), &recorder, false);
  reducer.arm();
  y.backward();
  EXPECT_EQ(recorder.events, (Events{"launch 48", "mark", "launch 32", "mark", "launch 16"}));
  EXPECT_EQ(recorder.tests, 3);  // each hook moves the exchange on
  (void)reducer.finish();
  EXPECT_EQ(recorder.events.size(), 8u);
}

TEST(ReducerBuckets, ALateFirstBucketHoldsBackTheOthers) {
  Recorder recorder;
  const std::vector<Tensor> weights{parameter({16}, 1), parameter({32}, 2), parameter({48}, 3)};
  GradientReducer reducer(weights, recorder, {.first_bucket_bytes = 1, .bucket_bytes = 1});
  reducer.begin();
  const Tensor y = weights[0].sum() * weights[1].sum();  // the first bucket, of weights[2], gets nothing
  reducer.arm();
  y.backward();
  EXPECT_TRUE(recorder.events.empty());
  (void)reducer.finish();
  EXPECT_EQ(recorder.events, (Events{"launch 48", "launch 32", "launch 16", "wait", "wait", "wait"}));
}

TEST(ReducerBuckets, NothingIsLaunchedBeforeArm) {
  Recorder recorder;
  const std::vector<Tensor> weights{parameter({16}, 1)};
  GradientReducer reducer(weights, recorder);
  reducer.begin();
  weights[0].sum().backward();
  EXPECT_TRUE(recorder.events.empty());
}

TEST(ReducerLifetime, AGraphMayOutliveTheReducer) {
  Recorder recorder;
  const Tensor weight = parameter({16}, 1);
  Tensor y;
  {
    GradientReducer reducer({weight}, recorder);
    reducer.begin();
    y = weight.square().sum();
    reducer.arm();
  }
  y.backward();
  EXPECT_TRUE(recorder.events.empty());
  EXPECT_TRUE(torch::equal(weight.grad(), 2 * weight.detach()));
}

TEST(ReducerLifetime, WithoutParametersItDoesNothing) {
  Recorder recorder;
  GradientReducer reducer({}, recorder);
  reducer.begin();
  reducer.arm();
  EXPECT_EQ(reducer.finish().bytes, 0);
}

TEST(ReducerLifetime, AParameterElsewhereIsRefused) {
  Recorder recorder;
  const Tensor weight = torch::empty({3}, torch::kMeta).requires_grad_();
  EXPECT_THROW(GradientReducer({weight}, recorder), CommError);
}

}  // namespace
}  // namespace decant::dist
