// Losses between taps and vectors, values and gradients (to the tap and to the loss's own parameters) against PyTorch's.
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "tests/golden/every_loss.h"
#include "tests/golden/golden_file.h"
#include "trainer/row_gather.h"

namespace decant::golden {
namespace {

using torch::Tensor;

constexpr double kTolerance = 2e-5;

/// A parameter's name in the file: "hidden.weight" is weight, "student.bias" is student_bias.
std::string in_file(std::string name) {
  if (name.starts_with("hidden.")) return name.substr(7);
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

struct Problem {
  Problem() : file("vectors"), tap(file["tap"].clone().requires_grad_()) {
    const auto rows = tap.size(0);
    in.target_weights = file["weights"];
    in.taps["hidden"] = tap;
    in.teacher.vectors = file["vectors"];
    in.set = "hidden";
    in.target_ids = torch::zeros({rows}, torch::kInt64), in.sample_ids = file["samples"];
    in.is_last = torch::ones({rows}, torch::kBool);
    in.rows = &gather;
  }
  File file;
  Tensor tap;
  trainer::LossInputs in;
  std::unique_ptr<dist::Communicator> alone = dist::make_single_communicator(torch::kCPU);
  trainer::RowGather gather{*alone};
};

void expect_golden(const std::string& key, const std::string& type, const base::Json& options) {
  SCOPED_TRACE(key);
  Problem p;
  const auto named = make_loss(type, options);
  named.loss->prepare({100, p.file["student_bank"].size(0), 1, {{"hidden", p.tap.size(1)}}, {{"hidden", 9}}});
  if (type == "crd")
    named.loss->restore({{"student_bank", p.file["student_bank"]},
                         {"teacher_bank", p.file["teacher_bank"]},
                         {"log_z", torch::zeros({2})}});
  std::vector<std::pair<std::string, Tensor>> leaves{{"tap", p.tap}};
  for (const auto& item : named.loss->named_parameters()) {
    const torch::NoGradGuard no_grad;
    item.value().copy_(p.file[in_file(item.key())]);
    leaves.emplace_back(in_file(item.key()), item.value());
  }
  const auto sum = named.loss->sum(p.in);
  EXPECT_LT(relative(sum, p.file[key + ".sum"]), kTolerance);
  sum.backward();
  for (const auto& [name, leaf] : leaves)
    EXPECT_LT(relative(leaf.grad(), p.file[key + ".grad_" + name]), kTolerance) << name;
}

TEST(GoldenVectorLosses, ValuesAndGradients) {
  for (const char* type : {"hint", "cosine", "pkd", "info_nce", "rkd_distance"})
    expect_golden(type, type, base::Json::object());
  expect_golden("info_nce_symmetric", "info_nce", {{"symmetric", true}, {"temperature", 0.5}});
  expect_golden("crd", "crd", {{"width", 5}});
}

TEST(VectorLosses, CrdsBanksFollowAfterTheStep) {
  Problem p;
  const auto named = make_loss("crd", {{"width", 5}, {"momentum", 0.25}});
  named.loss->prepare({100, 11, 1, {{"hidden", p.tap.size(1)}}, {{"hidden", 9}}});
  const auto before = named.loss->state(*p.alone);
  const double first = named.loss->sum(p.in).item<double>();
  EXPECT_EQ(named.loss->sum(p.in).item<double>(), first) << "asking again changes nothing";
  named.loss->end_step();
  const auto after = named.loss->state(*p.alone);
  const auto moved = (after[0].second - before[0].second).abs().sum(1) > 0;
  EXPECT_EQ(moved.sum().item<std::int64_t>(), 7) << "the rows of the step, and no others";
  EXPECT_LT((after[0].second.norm(2, 1) - 1).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE((after[2].second != 0).all().item<bool>()) << "normalisers are known from now on";
  const auto again = make_loss("crd", {{"width", 5}, {"momentum", 0.25}});
  again.loss->prepare({100, 11, 1, {{"hidden", p.tap.size(1)}}, {{"hidden", 9}}});
  again.loss->restore(after);
  EXPECT_EQ(again.loss->sum(p.in).item<double>(), named.loss->sum(p.in).item<double>());
}

TEST(VectorLosses, ASetWithoutVectorsIsRefused) {
  for (const char* type : {"hint", "cosine", "pkd", "info_nce", "crd"})
    EXPECT_THROW(make_loss(type).loss->prepare({100, 11, 1, {{"hidden", 4}}, {}}), base::ConfigError) << type;
}

}  // namespace
}  // namespace decant::golden
