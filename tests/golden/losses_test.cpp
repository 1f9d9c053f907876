// Losses and their gradients against PyTorch's numbers and against finite differences.
#include <ATen/ops/logsumexp.h>
#include <gtest/gtest.h>
#include <torch/autograd.h>

#include "models/table.h"
#include "tests/golden/every_loss.h"
#include "tests/golden/labelled_batch.h"
#include "trainer/scoring.h"

namespace decant::golden {
namespace {

using torch::Tensor;
using trainer::NamedLoss;

constexpr double kTolerance = 1e-5, kHalfTolerance = 1e-3;
const std::vector<double> kTemperatures{1, 2, 4};
const char* const kCases[] = {"plain", "weighted", "full", "spread", "single", "match"};  // and "ragged"

/// What each loss sees of a batch, by one walk.
std::vector<trainer::LossInputs> score(const Tensor& hidden, models::Table& table, const data::LabelledBatch& batch,
                                       const std::vector<NamedLoss>& losses, trainer::LabelSets labels) {
  const trainer::Scoring scoring({{hidden, &table}, {}}, batch.batch, std::move(labels), losses, {});
  std::vector<trainer::LossInputs> inputs;
  for (const auto& loss : losses) inputs.push_back(scoring.inputs(loss, loss.sets.empty() ? "" : loss.sets[0]));
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
    teacher.ids = at(file, "ids"), teacher.logits = logits;
    for (std::size_t t = 0; t < kTemperatures.size(); ++t)
      teacher.rest_lse[kTemperatures[t]] = rest_lse.select(1, static_cast<std::int64_t>(t));
    teacher.target_logit = at(file, "teacher_target_logit");
    teacher.logit_mean = at(file, "teacher_mean"), teacher.logit_variance = at(file, "teacher_variance");
    sampled.ids = at(file, "draws"), sampled.draw_weights = at(file, "draw_weights"), sampled.drawn_at = 2;
    sampled.logits = torch::zeros_like(sampled.draw_weights);
  }
  [[nodiscard]] const Tensor& at(const File& file, const std::string& tensor) const {
    return file[name + "." + tensor];
  }

  /// As the step does it; with the file's own labels, or with those that went through fp16.
  std::vector<trainer::LossInputs> score(const std::vector<NamedLoss>& losses, bool exact) {
    return golden::score(hidden, table, batch, losses,
                         exact ? exact_labels(losses) : trainer::decode_labels(batch, losses, torch::kCPU));
  }
  trainer::LossInputs score(const NamedLoss& loss, bool exact) { return score(std::vector{loss}, exact)[0]; }

  trainer::LabelSets exact_labels(const std::vector<NamedLoss>& losses) {
    trainer::LabelSets known{{"teacher", teacher}, {"sampled", sampled}}, used;
    for (const auto& loss : losses)
      for (const auto& set : loss.sets) used[set] = known.at(set);
    return used;
  }

  std::string name;
  Tensor logits, rest_lse, hidden;
  models::LocalTable table;
  data::LabelledBatch batch;
  trainer::TeacherLabels teacher, sampled;
};

/// 0 is met absolutely: where student and teacher are one, all that is left is rounding, of terms as large as `size`.
double off(const Tensor& value, const Tensor& wanted, double size = 1) {
  return relative(value, wanted, wanted.abs().max().item<double>() < 1e-6 ? size : 0.0);
}

/// A loss of the file: its name there, the kind and its options. `softened`: one column a temperature.
struct Wanted {
  std::string key, type;
  base::Json options;
  bool softened = false;
};

const std::vector<Wanted> kWanted{
    {"ce", "ce", base::Json::object()},
    {"kl_tail", "kl_tail", base::Json::object(), true},
    {"kl_renormalised", "kl_renormalised", base::Json::object(), true},
    {"kl_truncated", "kl_truncated", base::Json::object(), true},
    {"soft_ce", "soft_ce", base::Json::object(), true},
    {"mse", "mse", base::Json::object()},
    {"kl_sampled", "kl_sampled", {{"labels", {"sampled"}}}},
    {"kl_tail_reverse", "kl_tail", {{"direction", "reverse"}}, true},
    {"kl_tail_jsd", "kl_tail", {{"direction", "jsd"}, {"beta", 0.3}}, true},
    {"kl_tail_scaled", "kl_tail", {{"direction", "jsd"}, {"beta", 0.9}, {"scaled", true}}, true},
    {"kl_renormalised_reverse", "kl_renormalised", {{"direction", "reverse"}}, true},
    {"list_kl_jsd", "list_kl", {{"direction", "jsd"}, {"beta", 0.3}}, true},
    {"logit_std", "logit_std", base::Json::object(), true},
    {"dkd", "dkd", base::Json::object(), true},
    {"rrd", "rrd", small_options("rrd")},
    {"rd", "rd", small_options("rd")},
    {"bpr", "bpr", {{"depth", 4}}},
    {"margin", "margin", {{"depth", 4}}},
    {"margin_constant", "margin", {{"depth", 4}, {"margin", "constant"}, {"constant", 0.5}}},
    {"margin_mse", "margin_mse", base::Json::object()}};

void expect_golden(const File& file, const std::string& name, bool exact, double tolerance) {
  struct Column {
    std::string key;
    std::int64_t at;
  };
  std::vector<Column> columns;
  std::vector<NamedLoss> all;
  for (const auto& one : kWanted) {
    const bool stored = one.type == "ce" || one.type == "mse" || one.type == "soft_ce" || one.type.starts_with("kl_");
    if (!file.has(name + "." + one.key + ".sum") || (!exact && (!stored || one.type == "kl_sampled"))) continue;
    for (std::int64_t t = 0; t < (one.softened ? 3 : 1); ++t) {
      auto options = one.options;
      if (one.softened) options["temperature"] = kTemperatures[static_cast<std::size_t>(t)];
      all.push_back(make_loss(one.type, options));
      all.back().loss->prepare({file[name + ".table"].size(0), file[name + ".hidden"].size(0)});
      columns.push_back({one.key, t});
    }
  }
  Case problem(file, name);
  const auto together = problem.score(all, exact);  // one walk for all of them
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& [key, column] = columns[i];
    SCOPED_TRACE(name + ", " + key + " column " + std::to_string(column));
    const auto golden = [&](const char* what) { return problem.at(file, key + "." + what)[column]; };
    const double size = key == "dkd" ? 8 * 16 : 1;  // beta T^2
    // Where the student is sure, gradients of these are what is left of terms as large as the loss.
    const bool cancels = name == "spread" && (key.ends_with("reverse") || key.ends_with("jsd"));
    const auto least = [&](const char* what) {
      if (cancels) return std::abs(golden("sum").item<double>());
      return golden(what).abs().max().item<double>() < 1e-6 ? size : 0.0;
    };
    EXPECT_NEAR(all[i].loss->weight(problem.batch), golden("weight").item<double>(), 1e-6);
    for (const bool alone : {false, true}) {
      const auto sum = all[i].loss->sum(alone ? problem.score(all[i], exact) : together[i]);
      EXPECT_LT(off(sum, golden("sum"), size), tolerance) << sum << golden("sum");
      const auto grads = torch::autograd::grad({sum}, {problem.hidden, problem.table.weight}, {}, true);
      EXPECT_LT(relative(grads[0], golden("grad_hidden"), least("grad_hidden")), tolerance);
      EXPECT_LT(relative(grads[1], golden("grad_table"), least("grad_table")), tolerance);
    }
  }
}

TEST(GoldenLosses, ValuesAndGradients) {
  const File file("losses");
  for (const char* name : kCases) expect_golden(file, name, true, kTolerance);
  expect_golden(file, "ragged", true, kTolerance);  // ids of -1
}

TEST(GoldenLosses, LabelsAsTheyAreStored) {
  const File file("losses");
  for (const char* name : kCases) expect_golden(file, name, false, kHalfTolerance);
}

TEST(GoldenLosses, StoredLabelsAreThoseOfTheFile) {
  const File file("losses");
  const auto loss = make_loss("kl_tail", {{"temperature", 2}});
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
  for (const char* type :
       {"kl_tail", "kl_renormalised", "mse", "logit_std", "dkd", "list_kl", "margin", "margin_mse"}) {
    const auto loss = make_loss(type);  // not in kl_truncated: the student alone has a tail
    const double allowed = std::string(type) == "dkd" ? 2e-4 : kTolerance;  // it is 8 T^2 times a KL
    EXPECT_NEAR(loss.loss->sum(problem.score(loss, true)).item<double>(), 0, allowed) << type;
  }
  for (const char* direction : {"reverse", "jsd"}) {
    const auto loss = make_loss("kl_tail", {{"direction", direction}});
    EXPECT_NEAR(loss.loss->sum(problem.score(loss, true)).item<double>(), 0, kTolerance) << direction;
  }
}

TEST(Losses, CrossEntropyIsTheSameBesideLabels) {
  const File file("losses");
  for (const char* name : {"plain", "full", "spread"}) {
    Case problem(file, name);
    const auto ce = make_loss("ce"), kl = make_loss("kl_tail", {{"temperature", 1}});
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

}  // namespace
}  // namespace decant::golden
