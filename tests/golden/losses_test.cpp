// Losses and their gradients against PyTorch's numbers and against finite differences.
#include <ATen/ops/logsumexp.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "models/table.h"
#include "tests/golden/labelled_batch.h"
#include "trainer/job.h"
#include "trainer/scoring.h"

namespace decant::golden {
namespace {

using torch::Tensor;
using trainer::NamedLoss;

constexpr double kTolerance = 1e-5, kHalfTolerance = 1e-3;
const std::vector<double> kTemperatures{1, 2, 4};
const char* const kCases[] = {"plain", "weighted", "full", "spread", "single", "match"};

NamedLoss make_loss(const std::string& type, double temperature = 0) {
  static const auto registries = trainer::default_registries();
  base::KindOptions kind{type, registries.losses.options_of(type)};
  if (temperature > 0) base::read_options({{"temperature", temperature}}, *kind.options);
  return trainer::name_loss(type, *kind.options, registries.losses.make(kind));
}

/// What each loss sees of a batch, by one walk.
std::vector<trainer::LossInputs> score(const Tensor& hidden, models::Table& table, const data::LabelledBatch& batch,
                                       const std::vector<NamedLoss>& losses, trainer::LabelSets labels) {
  const trainer::Scoring scoring({{hidden, &table}, {}}, batch.batch, std::move(labels), losses, {});
  std::vector<trainer::LossInputs> inputs;
  for (const auto& loss : losses) inputs.push_back(scoring.inputs(loss, loss.sets.empty() ? "" : "teacher"));
  return inputs;
}

bool has_temperature(const std::string& type) {
  const auto options = trainer::default_registries().losses.options_of(type);
  return base::write_options(*options).contains("temperature");
}

/// One case of the golden file.
struct Case {
  Case(const File& file, const std::string& case_name)
      : name(case_name),
        logits(at(file, "teacher_logits")),
        rest_lse(at(file, "teacher_rest_lse")),
        hidden(at(file, "hidden").clone().requires_grad_()),
        table(at(file, "table").size(0), hidden.size(1), 1),
        batch(labelled_batch(at(file, "targets"), at(file, "weights"), at(file, "ids"), logits, rest_lse,
                             kTemperatures)) {
    const torch::NoGradGuard no_grad;
    table.weight.copy_(at(file, "table"));
  }
  [[nodiscard]] const Tensor& at(const File& file, const std::string& tensor) const {
    return file[name + "." + tensor];
  }

  /// As the step does it; with the file's own labels, or with those that went through fp16.
  std::vector<trainer::LossInputs> score(const std::vector<NamedLoss>& losses, bool exact) {
    auto labels = trainer::decode_labels(batch, losses, torch::kCPU);
    if (exact)
      for (auto& [name, set] : labels) use_exact(set, logits, rest_lse, kTemperatures);
    return golden::score(hidden, table, batch, losses, labels);
  }
  trainer::LossInputs score(const NamedLoss& loss, bool exact) { return score(std::vector{loss}, exact)[0]; }

  std::string name;
  Tensor logits, rest_lse, hidden;
  models::LocalTable table;
  data::LabelledBatch batch;
};

/// 0 is met absolutely: where student and teacher are one, all that is left is rounding.
double off(const Tensor& value, const Tensor& wanted) {
  return relative(value, wanted, wanted.abs().max().item<double>() < 1e-6 ? 1.0 : 0.0);
}

struct Wanted {
  std::string loss;
  std::int64_t column;
  double temperature;
};

std::vector<Wanted> wanted_of(const File& file, const std::string& name) {
  std::vector<Wanted> out{{"ce", 0, 0}};
  if (file.has(name + ".mse.sum")) out.push_back({"mse", 0, 0});
  for (const char* loss : {"kl_tail", "kl_renormalised", "kl_truncated"})
    for (std::int64_t t = 0; t < 3; ++t) out.push_back({loss, t, kTemperatures[static_cast<std::size_t>(t)]});
  return out;
}

void expect_golden(const File& file, const std::string& name, bool exact, double tolerance) {
  const auto wanted = wanted_of(file, name);
  std::vector<NamedLoss> all;
  for (const auto& one : wanted) all.push_back(make_loss(one.loss, one.temperature));
  Case problem(file, name);
  const auto together = problem.score(all, exact);  // one walk for all of them
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& [loss, column, temperature] = wanted[i];
    SCOPED_TRACE(name + ", " + loss + " at T = " + std::to_string(temperature));
    const auto golden = [&](const char* what) { return problem.at(file, loss + "." + what)[column]; };
    EXPECT_NEAR(all[i].loss->weight(problem.batch), golden("weight").item<double>(), 1e-6);
    for (const bool alone : {false, true}) {
      const auto sum = all[i].loss->sum(alone ? problem.score(all[i], exact) : together[i]);
      EXPECT_LT(off(sum, golden("sum")), tolerance) << sum << golden("sum");
      const auto grads = torch::autograd::grad({sum}, {problem.hidden, problem.table.weight}, {}, true);
      EXPECT_LT(off(grads[0], golden("grad_hidden")), tolerance);
      EXPECT_LT(off(grads[1], golden("grad_table")), tolerance);
    }
  }
}

TEST(GoldenLosses, ValuesAndGradients) {
  const File file("losses");
  for (const char* name : kCases) expect_golden(file, name, true, kTolerance);
}

TEST(GoldenLosses, LabelsAsTheyAreStored) {
  const File file("losses");
  for (const char* name : kCases) expect_golden(file, name, false, kHalfTolerance);
}

TEST(GoldenLosses, StoredLabelsAreThoseOfTheFile) {
  const File file("losses");
  const auto loss = make_loss("kl_tail", 2);
  int survived = 0;
  for (const char* name : kCases) {
    Case problem(file, name);
    const auto labels = problem.score(loss, false).teacher;
    EXPECT_TRUE(labels.ids.equal(problem.at(file, "ids")));
    // fp16 relative to the peak: 11 bits of the distance from it.
    const auto distance = (problem.logits - problem.logits.select(1, 0).unsqueeze(1)).abs();
    EXPECT_TRUE(((labels.logits - problem.logits).abs() <= distance * 0x1p-11 + 1e-6).all().item<bool>()) << name;
    EXPECT_LT(difference(labels.rest_lse.at(2), problem.rest_lse.select(1, 1)), 1e-5) << name;
    survived += labels.logits.equal(problem.logits) ? 1 : 0;
  }
  EXPECT_GE(survived, 3) << "multiples of 1/64 not far from the peak need no rounding";
}

TEST(Losses, MatchIsZero) {
  const File file("losses");
  Case problem(file, "match");
  for (const char* type : {"kl_tail", "kl_renormalised", "mse"}) {  // in kl_truncated the student alone has a tail
    const auto loss = make_loss(type);
    EXPECT_NEAR(loss.loss->sum(problem.score(loss, true)).item<double>(), 0, kTolerance) << type;
  }
}

TEST(Losses, CrossEntropyIsTheSameBesideLabels) {
  const File file("losses");
  for (const char* name : {"plain", "full", "spread"}) {
    Case problem(file, name);
    const auto ce = make_loss("ce"), kl = make_loss("kl_tail", 1);
    const auto alone = ce.loss->sum(problem.score(ce, true));
    const auto beside = ce.loss->sum(problem.score({ce, kl}, true)[0]);
    EXPECT_LT(off(beside, alone), 1e-6) << name;
  }
}

TEST(Losses, MseOfOneLabelIsRefused) {
  const auto registries = trainer::default_registries();
  trainer::JobOptions job(registries);
  base::read_options({{"version", 1},
                      {"run", {{"folder", "run"}}},
                      {"data", {{"dataset", "data"}}},
                      {"losses", {{"ce", base::Json::object()}, {"mse", base::Json::object()}}},
                      {"labels", {{"k", 1}}}},
                     job);
  try {
    job.check();
    FAIL() << "k = 1 was taken";
  } catch (const base::ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("loss 'mse' needs 'labels.k' of at least 2"), std::string::npos)
        << error.what();
  }
  base::read_options({{"k", 2}}, job.labels);
  EXPECT_NO_THROW(job.check());
}

/// Small enough to move every element.
struct SmallProblem {
  SmallProblem() : table(9, 4, 3) {
    torch::manual_seed(5);
    const torch::NoGradGuard no_grad;
    table.weight.normal_();
    hidden = torch::randn({3, 4});
    const auto teacher = torch::randn({3, 9}) * 2;
    const auto best = teacher.sort(true, 1, true);
    const auto ids = std::get<1>(best).narrow(1, 0, 4), rest = std::get<0>(best).narrow(1, 4, 5);
    const auto rest_lse =
        at::stack({at::logsumexp(rest, 1), at::logsumexp(rest / 2, 1), at::logsumexp(rest / 4, 1)}, 1);
    batch = labelled_batch(torch::tensor({5, 0, 8}), torch::tensor({1.0f, 0.5f, 2.0f}), ids,
                           std::get<0>(best).narrow(1, 0, 4), rest_lse, kTemperatures);
  }
  double value(const NamedLoss& loss) {
    const torch::NoGradGuard no_grad;
    return sum(loss).item<double>();
  }
  Tensor sum(const NamedLoss& loss) {
    return loss.loss->sum(score(hidden, table, batch, {loss}, trainer::decode_labels(batch, {loss}, torch::kCPU))[0]);
  }
  models::LocalTable table;
  Tensor hidden;
  data::LabelledBatch batch;
};

void expect_finite_differences(const NamedLoss& loss) {
  constexpr double kStep = 1e-2;
  SmallProblem problem;
  problem.hidden.requires_grad_();
  std::vector<Tensor> leaves{problem.hidden, problem.table.weight};
  for (const auto& parameter : loss.loss->parameters()) leaves.push_back(parameter);
  problem.sum(loss).backward();
  for (std::size_t l = 0; l < leaves.size(); ++l) {
    const Tensor grad = leaves[l].grad().clone();
    Tensor flat = leaves[l].detach().view({-1}), measured = torch::zeros({flat.numel()});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      const auto before = flat[i].item<float>();
      flat[i] = before + kStep;
      const double up = problem.value(loss);
      flat[i] = before - kStep;
      measured[i] = (up - problem.value(loss)) / (2 * kStep);
      flat[i] = before;
    }
    EXPECT_GT(grad.abs().max().item<double>(), 0.01) << "tensor " << l << " has no gradient";
    EXPECT_LT(relative(measured.view_as(grad), grad), 2e-3) << "tensor " << l;
  }
}

TEST(Losses, FiniteDifferencesOfEveryKind) {
  for (const std::string& type : trainer::default_registries().losses.names()) {
    SCOPED_TRACE(type);
    expect_finite_differences(make_loss(type));
    if (has_temperature(type)) expect_finite_differences(make_loss(type, 1));
  }
}

}  // namespace
}  // namespace decant::golden
