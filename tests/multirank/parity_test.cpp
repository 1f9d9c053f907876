// N ranks equal one rank: training, labels and evaluation at the world's size against the same done by one process.
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // NOLINT: mkdtemp

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <tuple>

#include "base/files.h"
#include "base/hash.h"
#include "data/import.h"
#include "data/synthesize.h"
#include "models/initial.h"
#include "models/sasrec.h"
#include "tests/multirank/world.h"
#include "trainer/baselines.h"
#include "trainer/errors.h"
#include "trainer/fidelity.h"
#include "trainer/labeller.h"
#include "trainer/next_item.h"
#include "trainer/scoring.h"
#include "trainer/segments.h"
#include "trainer/train.h"

namespace decant::multirank {
namespace {

namespace fs = std::filesystem;
using dist::Communicator;

// Largest absolute difference of a parameter after five steps of AdamW at a learning rate of 0.01 (measured: 1.2e-5 with
// four ranks). Keys' biases have a gradient of 0 but for rounding, which AdamW magnifies (measured: 7e-5).
constexpr double kTolerance = 5e-5, kKeyBiasTolerance = 1e-3;
constexpr double kLossTolerance = 1e-6;  // relative (measured: 1e-7)

constexpr std::int64_t kLength = 20, kLabelled = 12;

/// What one process runs with.
struct Place {
  Place(Communicator& communicator, const fs::path& folder, int threads = 1, const std::string& fault = "")
      : metrics("parity", communicator.rank()),
        progress(stderr, false),
        log(folder / "log", communicator.rank()),
        faults(fault, communicator.rank()),
        context{communicator, metrics, progress, log, faults, stop, threads} {}
  monitoring::Metrics metrics;
  monitoring::Progress progress;
  monitoring::RankLog log;
  trainer::FaultPlan faults;
  std::atomic<bool> stop{false};
  trainer::Context context;
};

/// The mistake that these tests are there to find: each rank divides by its own weight, and the means are averaged.
class MeanOfRanks : public trainer::Loss {
 public:
  explicit MeanOfRanks(std::shared_ptr<trainer::Loss> inner) : inner_(std::move(inner)) {}
  trainer::LossNeeds needs() const override { return inner_->needs(); }
  torch::Tensor sum(const trainer::LossInputs& in) override { return inner_->sum(in) / in.target_weights.sum(); }
  double weight(const data::LabelledBatch&) const override { return 1; }

 private:
  std::shared_ptr<trainer::Loss> inner_;
};

/// Labels of every kind: what the store has, and what is made here of the target alone, the same on every rank.
class EveryLabel : public trainer::NextItem {
 public:
  using NextItem::NextItem;
  static constexpr std::int64_t kWidth = 6;

 protected:
  trainer::LabelSets stored_labels(const data::LabelledBatch& batch, const std::set<double>& more) override {
    std::vector<trainer::NamedLoss> stored;
    bool vectors = false;
    for (const auto& named : losses())
      (named.sets == std::vector<std::string>{"hidden"} ? vectors = true : (stored.push_back(named), false));
    auto sets = trainer::decode_labels(batch, stored, torch::kCPU, more);
    const auto targets = torch::tensor(batch.batch.target_ids, torch::kInt64);
    if (const auto at = sets.find("teacher"); at != sets.end()) {
      at->second.draw_weights = at->second.logits.softmax(1), at->second.drawn_at = 2;
      at->second.logit_mean = targets.to(torch::kFloat32) / 300;
      at->second.logit_variance = 1 + at->second.logit_mean;
    }
    if (vectors)
      sets["hidden"].vectors = models::initial_normal({300, kWidth}, 1, 5, "vectors").index_select(0, targets);
    return sets;
  }
};

struct Job {
  data::BatchOptions batch;
  trainer::TrainOptions train;
  trainer::BalanceOptions balance;
  bool labels = true, mean_of_ranks = false;
  std::string loss;  // this one beside ce, with plain SGD; empty: the main job's
  base::Json options = base::Json::object();
};

trainer::NamedLoss make_loss(const Job& job) {
  const auto registries = trainer::default_registries();
  base::KindOptions kind{job.loss, registries.losses.options_of(job.loss)};
  base::read_options(job.options, *kind.options);
  return trainer::name_loss(job.loss, *kind.options, registries.losses.make(kind));
}

/// Draws fewer than there are, and fits twelve labels.
base::Json options_for(const std::string& type) {
  if (type == "rrd") return {{"interesting", 6}, {"uninteresting", 20}, {"weight", 0.05}};
  if (type == "rd") return {{"depth", 5}, {"drawn", 20}};
  if (type == "crd") return {{"negatives", 50}, {"width", 8}, {"weight", 0.05}};
  if (type == "dkd") return {{"temperature", 2}, {"weight", 0.1}};
  return {{"weight", 0.3}};
}

/// Five steps, clipped, the fifth in the second epoch; a step is two cuts, but one at the epoch's end.
Job make_job() {
  Job job;
  job.batch.sequences = 300;
  job.batch.accumulate = 2;
  job.batch.rank_tokens = 500;
  job.train.max_steps = 5;
  job.train.patience = 0;
  job.train.clip_norm = 0.05;
  return job;
}

/// One kind of label, with options.
struct Kind {
  std::string type = "topk";
  base::Json options = {{"k", kLabelled}, {"temperatures", {1, 2}}};
};

struct Outcome {
  models::NamedTensors parameters;
  base::Json curve;
  std::string stopped_by;
  double norm = 0;  // of the last step's gradient, before it was clipped
};

struct Gap {
  double parameters = 0, key_biases = 0, losses = 0;
};

double largest(const torch::Tensor& a, const torch::Tensor& b) { return (a - b).abs().max().item<double>(); }

Gap gap_of(const Outcome& a, const Outcome& b) {
  Gap gap;
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    const auto& [name, here] = a.parameters[i];
    const auto& there = b.parameters[i].second;
    const auto widest = [&](std::int64_t part) { return largest(here.chunk(3)[part], there.chunk(3)[part]); };
    if (name.ends_with("qkv.bias")) {
      gap.key_biases = std::max(gap.key_biases, widest(1));
      gap.parameters = std::max({gap.parameters, widest(0), widest(2)});
    } else {
      gap.parameters = std::max(gap.parameters, largest(here, there));
    }
  }
  EXPECT_EQ(a.curve.size(), b.curve.size());
  for (std::size_t i = 0; i < std::min(a.curve.size(), b.curve.size()); ++i)
    for (const auto& [name, value] : a.curve[i].at("loss").items()) {
      const double mean = value, wanted = b.curve[i].at("loss").at(name);
      gap.losses = std::max(gap.losses, std::abs(mean - wanted) / std::abs(wanted));
    }
  return gap;
}

double metric(const monitoring::Metrics& metrics, const std::string& name) {
  const std::string text = metrics.text();
  const auto line = text.find("\n" + name + "{");
  return line == std::string::npos ? NAN : std::stod(text.substr(text.find("} ", line) + 2));
}

/// Hash of every file of a label store but the record of its stage.
std::map<std::string, std::string> hashes_of(const fs::path& folder) {
  std::map<std::string, std::string> hashes;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file())
      hashes[entry.path().filename().string()] = base::hash_hex(base::read_file(entry.path()));
  return hashes;
}

class Parity : public testing::Test {
 protected:
  /// Rank 0 makes a dataset that all ranks read: 2200 ragged rows in three label parts.
  static void SetUpTestSuite() {
    std::string name = (std::filesystem::temp_directory_path() / "decant-parity-XXXXXX").string();
    if (world().rank() == 0) {
      ASSERT_NE(::mkdtemp(name.data()), nullptr);
      data::SynthesizeOptions log;
      log.users = 2200, log.items = 300, log.mean_length = 10;
      data::synthesize(log, fs::path(name) / "log.txt");
      data::ImportOptions import;
      import.files = {name + "/log.txt"};
      static_cast<void>(data::import_dataset(import, fs::path(name) / "dataset"));
    }
    folder_ = world().broadcast_bytes(name, 0);
    dataset_ = std::make_unique<data::Dataset>(folder_ / "dataset");
    Place place(world(), folder_);
    label(world(), "labels", 1);
    labels_ = std::make_unique<data::LabelStore>(std::map<std::string, fs::path>{{"teacher", folder_ / "labels"}},
                                                 *dataset_, kLength);
  }
  static void TearDownTestSuite() {
    labels_.reset();
    dataset_.reset();
    world().barrier();
    if (world().rank() == 0) fs::remove_all(folder_);
  }

  static std::shared_ptr<models::SasRec> make_model(std::int64_t dim, std::uint64_t seed) {
    models::SasRecOptions options;
    options.dim = dim;
    options.max_length = kLength;
    return std::make_shared<models::SasRec>(options, models::ModelContext{dataset_->info().items, seed});
  }

  /// Never trained, but with scores as far apart as a trained one's.
  static std::shared_ptr<models::SasRec> make_teacher() {
    auto teacher = make_model(32, 7);
    const torch::NoGradGuard no_grad;
    teacher->named_parameters()["item.weight"].mul_(20);
    return teacher;
  }

  static trainer::LabelResult label(Communicator& communicator, const std::string& name, int threads, bool stop = false,
                                    const Kind& asked = {}) {
    const auto& info = dataset_->info();
    data::LabelSpec spec;
    spec.kind = asked.type;
    spec.key = "parity";
    spec.teacher_hash = "random";
    spec.catalogue_hash = info.catalogue_hash;
    spec.content_hash = info.content_hash;
    spec.max_length = kLength;
    spec.items = info.items;
    spec.rows = info.rows;
    spec.options = asked.options;
    const auto kind = trainer::kind_of(spec);
    const auto teacher = make_teacher();
    spec.columns = kind->columns(trainer::label_shape(*teacher, *kind, *dataset_, data::Element::kF16));
    Place place(communicator, folder_, threads);
    place.stop = stop;
    return trainer::label_dataset({{teacher}}, *kind, *dataset_, spec, folder_ / name, place.context);
  }

  static std::vector<trainer::NamedLoss> make_losses(const Job& job) {
    const auto registries = trainer::default_registries();
    std::vector<trainer::NamedLoss> losses;
    if (!job.loss.empty()) {
      losses.push_back({"ce", 1, registries.losses.make({"ce", registries.losses.options_of("ce")})});
      if (job.loss != "ce") losses.push_back(make_loss(job));
      return losses;
    }
    for (const auto& [name, factor] : {std::pair("ce", 1.0), {"kl_tail", 0.7}, {"mse", 0.05}}) {
      auto loss = registries.losses.make({name, registries.losses.options_of(name)});
      if (loss->needs().labels && !job.labels) continue;
      if (job.mean_of_ranks) loss = std::make_shared<MeanOfRanks>(loss);
      losses.push_back({name, factor, std::move(loss)});
    }
    return losses;
  }

  static trainer::RunFacts facts() { return {3, {{"hidden", EveryLabel::kWidth}}}; }

  /// Dropout 0.2 everywhere, attention's probabilities among it.
  static Outcome train(Communicator& communicator, const std::string& name, const Job& job,
                       const std::string& fault = "", bool stop = false) {
    Place place(communicator, folder_ / name, 1, fault);
    place.stop = stop;
    const auto model = make_model(16, 11);
    EveryLabel task(model, make_losses(job), *dataset_, job.train.softmax, place.context, facts());
    const auto registries = trainer::default_registries();
    const std::string type = job.loss.empty() ? "adamw" : "sgd";
    base::KindOptions kind{type, registries.optimizers.options_of(type)};
    base::read_options({{"lr", job.loss.empty() ? 1e-2 : 0.3}, {"weight_decay", 0.01}}, *kind.options);
    const auto optimizer = registries.optimizers.make(kind, task.parameters());
    const auto* labels = job.labels ? labels_.get() : nullptr;
    trainer::TrainSetup setup{"student", folder_ / name, "parity", 3, kLength, *dataset_, labels, job.batch, job.train};
    setup.balance = job.balance;
    Outcome out;
    const auto result = trainer::train(task, *optimizer, setup, place.context, {});
    out.curve = result.curve;
    out.stopped_by = result.stopped_by;
    for (const auto& [key, tensor] : task.parameters()) out.parameters.emplace_back(key, tensor.detach().clone());
    out.norm = metric(place.metrics, "decant_gradient_norm");
    return out;
  }

  /// The same in one process, on rank 0; every rank gets what it came to.
  static Outcome train_alone(const std::string& name, const Job& job) {
    Outcome out;
    if (world().rank() == 0) out = train(*dist::make_single_communicator(torch::kCPU), name, job);
    if (world().rank() != 0) {
      const auto alone = dist::make_single_communicator(torch::kCPU);
      Place place(*alone, folder_);
      EveryLabel task(make_model(16, 11), make_losses(job), *dataset_, job.train.softmax, place.context, facts());
      for (const auto& [key, tensor] : task.parameters()) out.parameters.emplace_back(key, at::zeros_like(tensor));
    }
    for (auto& [key, tensor] : out.parameters) world().broadcast(tensor, 0)->wait();
    out.curve = base::Json::parse(world().broadcast_bytes(out.curve.dump(), 0));
    return out;
  }

  static bool is_the_same_everywhere(const std::string& bytes) {
    const auto all = world().gather_bytes(bytes);
    return std::all_of(all.begin(), all.end(), [&](const auto& other) { return other == all.front(); });
  }

  static void tell(const std::string& what, const Gap& gap) {
    if (world().rank() == 0)
      std::printf("  %s, %d ranks: parameters %.2g, keys' biases %.2g, losses %.2g\n", what.c_str(), world().size(),
                  gap.parameters, gap.key_biases, gap.losses);
  }

  static void expect_parity(const std::string& name, const Job& job) {
    const Outcome here = train(world(), name, job), alone = train_alone(name + "-alone", job);
    const Gap gap = gap_of(here, alone);
    tell(name, gap);
    EXPECT_LE(gap.parameters, kTolerance) << name;
    EXPECT_LE(gap.key_biases, kKeyBiasTolerance) << name;
    EXPECT_LE(gap.losses, kLossTolerance) << name;
    EXPECT_GT(here.norm, job.train.clip_norm) << "nothing was clipped";
    EXPECT_TRUE(is_the_same_everywhere(models::hash_tensors(here.parameters))) << name;
    const Outcome fresh = train(world(), name + "-again", job);
    EXPECT_EQ(models::hash_tensors(fresh.parameters), models::hash_tensors(here.parameters)) << "not reproducible";
  }

  static fs::path folder_;
  static std::unique_ptr<data::Dataset> dataset_;
  static std::unique_ptr<data::LabelStore> labels_;
};
fs::path Parity::folder_;
std::unique_ptr<data::Dataset> Parity::dataset_;
std::unique_ptr<data::LabelStore> Parity::labels_;

TEST_F(Parity, Training) { expect_parity("accumulated", make_job()); }

TEST_F(Parity, FewerRowsThanRanks) {
  Job job = make_job();
  job.batch.sequences = 2;  // three and four ranks: some have nothing to do
  job.batch.accumulate = 1;
  expect_parity("few-rows", job);
}

TEST_F(Parity, CutsByTokensAndSampledSoftmax) {
  Job job = make_job();
  job.batch.tokens = 700;
  job.labels = false;
  job.train.softmax.kind = "sampled";
  job.train.softmax.negatives = 40;
  expect_parity("sampled", job);
}

TEST_F(Parity, BalancedLosses) {
  Job job = make_job();
  job.balance.kind = "gradient_norm", job.balance.every = 2;
  job.train.checkpoint_steps = 3;
  expect_parity("balanced", job);
  const Outcome whole = train(world(), "balanced", job), alone = train_alone("balanced-alone", job);  // finished
  for (const char* name : {"kl_tail", "mse"}) {
    const double here = whole.curve.back().at("scale").at(name), there = alone.curve.back().at("scale").at(name);
    EXPECT_NEAR(here, there, 1e-4 * there) << name;
    EXPECT_GT(std::abs(std::log(here)), 0.1) << name << ": nothing was scaled";
  }
  // Between two measurements, within an epoch: the scales come from the checkpoint.
  const std::string fault = "step@3:" + std::to_string(world().rank()) + ":throw";
  EXPECT_THROW(static_cast<void>(train(world(), "balanced-cut", job, fault)), std::runtime_error);
  const Outcome here = train(world(), "balanced-cut", job);
  EXPECT_EQ(models::hash_tensors(here.parameters), models::hash_tensors(whole.parameters));
  EXPECT_EQ(here.curve.dump(), whole.curve.dump());
  job.train.max_steps = 1;
  job.balance.kind = "none";
  const Outcome plain = train(world(), "not-balanced", job);
  EXPECT_FALSE(plain.curve.back().contains("scale"));
}

TEST_F(Parity, BalancedLossesWithFewerRowsThanRanks) {
  Job job;
  job.loss = "crd", job.options = options_for("crd");  // losses meet over ranks in a measurement too
  job.balance.kind = "gradient_norm", job.balance.every = 2;
  job.batch.sequences = 2;
  job.train.max_steps = 4, job.train.patience = 0;
  const Outcome here = train(world(), "balanced-few", job), alone = train_alone("balanced-few-alone", job);
  const Gap gap = gap_of(here, alone);
  EXPECT_LE(gap.parameters, kTolerance);
  EXPECT_LE(gap.losses, 1e-5);
}

TEST_F(Parity, AMeanOfRanksIsFound) {
  Job job = make_job();
  job.batch = {};
  job.batch.sequences = 7;  // few rows of many lengths: shares differ in weight
  expect_parity("right", job);
  const Outcome right = train_alone("right-alone", job);  // finished: read from its checkpoint
  job.mean_of_ranks = true;
  const Outcome wrong = train(world(), "wrong", job);
  const Gap gap = gap_of(wrong, right);
  tell("means of ranks", gap);
  if (world().size() == 1) {
    EXPECT_LE(gap.parameters, kTolerance) << "one rank's mean is the mean";
  } else {
    EXPECT_GT(gap.parameters, 10 * kTolerance);
    EXPECT_GT(gap.losses, 10 * kLossTolerance);
  }
}

/// Three steps of a loss beside ce, its own parameters among those compared.
void expect_loss_parity(const std::string& name, const Outcome& here, const Outcome& alone) {
  const Gap gap = gap_of(here, alone);
  EXPECT_LE(gap.parameters, kTolerance) << name;
  EXPECT_LE(gap.losses, 1e-5) << name;
}

TEST_F(Parity, EveryLoss) {
  for (const auto& type : trainer::default_registries().losses.names()) {
    Job job;
    job.loss = type, job.options = options_for(type);
    job.batch.sequences = 60;
    job.train.max_steps = 3, job.train.patience = 0;
    expect_loss_parity(type, train(world(), "every-" + type, job), train_alone("every-" + type + "-alone", job));
  }
}

TEST_F(Parity, LossesOfBatchScopeWithFewerRowsThanRanks) {
  for (const auto& type : trainer::default_registries().losses.names()) {
    Job job;
    job.loss = type, job.options = options_for(type);
    if (make_loss(job).loss->needs().scope != trainer::Scope::kBatch) continue;
    job.batch.sequences = 2;
    job.train.max_steps = 4, job.train.patience = 0;
    if (type == "info_nce") job.options["symmetric"] = true;
    expect_loss_parity(type, train(world(), "few-" + type, job), train_alone("few-" + type + "-alone", job));
  }
}

TEST_F(Parity, BanksContinueFromACheckpointAtAnyNumberOfRanks) {
  Job job;
  job.loss = "crd", job.options = options_for("crd");
  job.batch.sequences = 60;
  job.train.max_steps = 4, job.train.patience = 0, job.train.checkpoint_steps = 2;
  const Outcome whole = train(world(), "bank", job);
  const std::string fault = "step@3:" + std::to_string(world().rank()) + ":throw";
  EXPECT_THROW(static_cast<void>(train(world(), "bank-cut", job, fault)), std::runtime_error);
  world().barrier();
  if (world().rank() == 0) fs::copy(folder_ / "bank-cut", folder_ / "bank-cut-alone", fs::copy_options::recursive);
  world().barrier();
  const Outcome here = train(world(), "bank-cut", job), alone = train_alone("bank-cut-alone", job);
  EXPECT_EQ(models::hash_tensors(here.parameters), models::hash_tensors(whole.parameters)) << "same ranks, same bits";
  expect_loss_parity("continued by one", alone, whole);
}

TEST_F(Parity, ContinuesFromACheckpointAtAnyNumberOfRanks) {
  Job job = make_job();
  job.train.checkpoint_steps = 2;
  const Outcome whole = train(world(), "whole", job), read_again = train(world(), "whole", job);
  EXPECT_EQ(models::hash_tensors(read_again.parameters), models::hash_tensors(whole.parameters));
  EXPECT_EQ(read_again.curve.dump(), whole.curve.dump());
  EXPECT_EQ(read_again.stopped_by, "max_steps");
  const std::string fault = "step@3:" + std::to_string(world().rank()) + ":throw";
  EXPECT_THROW(static_cast<void>(train(world(), "cut", job, fault)), std::runtime_error);
  world().barrier();
  if (world().rank() == 0) fs::copy(folder_ / "cut", folder_ / "cut-alone", fs::copy_options::recursive);
  world().barrier();
  const Outcome here = train(world(), "cut", job), alone = train_alone("cut-alone", job);
  EXPECT_EQ(models::hash_tensors(here.parameters), models::hash_tensors(whole.parameters)) << "same ranks, same bits";
  EXPECT_EQ(here.curve.dump(), whole.curve.dump());
  const Gap gap = gap_of(alone, whole);
  tell("continued by one", gap);
  EXPECT_LE(gap.parameters, kTolerance);
  EXPECT_LE(gap.losses, kLossTolerance);
}

TEST_F(Parity, AStopOfOneRankIsEverybodys) {
  Job job = make_job();
  const Outcome whole = train(world(), "unstopped", job);
  const bool last = world().rank() + 1 == world().size(), first = world().rank() == 0;
  EXPECT_THROW(static_cast<void>(train(world(), "stopped", job, "", last)), trainer::Stopped);
  EXPECT_EQ(models::hash_tensors(train(world(), "stopped", job).parameters), models::hash_tensors(whole.parameters));
  EXPECT_THROW(static_cast<void>(label(world(), "labels-stopped", 1, first)), trainer::Stopped);
  static_cast<void>(label(world(), "labels-stopped", 1));
  EXPECT_EQ(hashes_of(folder_ / "labels-stopped"), hashes_of(folder_ / "labels"));
}

TEST_F(Parity, LabelsAreTheSameBytes) {
  const auto here = hashes_of(folder_ / "labels");
  EXPECT_EQ(here.size(), 4U);  // a manifest and three parts
  if (world().rank() == 0)
    for (const int threads : {1, 2}) {
      const std::string name = "labels-alone-" + std::to_string(threads);
      label(*dist::make_single_communicator(torch::kCPU), name, threads);
      EXPECT_EQ(hashes_of(folder_ / name), here) << threads << " threads";
    }
  world().barrier();
  if (world().rank() == 0) {
    fs::copy(folder_ / "labels", folder_ / "labels-cut");
    for (const char* name : {"manifest.json", "part-00000.h5", "part-00002.h5"})
      fs::remove(folder_ / "labels-cut" / name);
  }
  world().barrier();
  const auto result = label(world(), "labels-cut", 1);
  EXPECT_GT(result.labelled_now, 0);
  EXPECT_LT(result.labelled_now, result.positions);
  EXPECT_EQ(result.parts_of_rank, world().size() == 1 ? 2 : (world().rank() < 2 ? 1 : 0)) << "not dealt evenly";
  EXPECT_EQ(hashes_of(folder_ / "labels-cut"), here) << "continued";
}

TEST_F(Parity, LabelsOfEveryKindAreTheSameBytes) {
  const std::vector<Kind> kinds{{"top_p", {{"p", 0.6}, {"k", 30}}},
                                {"dense", base::Json::object()},
                                {"sampled", {{"draws", 25}}},
                                {"candidates", {{"negatives", 20}}},
                                {"candidates", {{"negatives", 20}, {"draw", "popularity"}}},
                                {"candidates", {{"ids_from", (folder_ / "labels").string()}}},
                                {"hidden", base::Json::object()}};
  std::set<std::string> covered{"topk"};  // LabelsAreTheSameBytes
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const std::string name = "kind-" + std::to_string(i);
    label(world(), name, 1, false, kinds[i]);
    const auto here = hashes_of(folder_ / name);
    EXPECT_EQ(here.size(), 4U) << kinds[i].type;
    if (world().rank() == 0)
      for (const int threads : {1, 2}) {
        const std::string alone = name + "-alone-" + std::to_string(threads);
        label(*dist::make_single_communicator(torch::kCPU), alone, threads, false, kinds[i]);
        EXPECT_EQ(hashes_of(folder_ / alone), here) << kinds[i].type << ", " << threads << " threads";
      }
    world().barrier();
    covered.insert(kinds[i].type);
  }
  for (const auto& type : trainer::label_kinds().names()) EXPECT_TRUE(covered.contains(type)) << type;
}

TEST_F(Parity, EvaluationIsTheSame) {
  const auto teacher = make_teacher(), student = make_model(16, 11);
  const auto evaluate = [&](Communicator& communicator, int threads) {
    Place place(communicator, folder_, threads);
    std::vector<std::vector<std::int64_t>> counts;
    const auto keep = [&](trainer::Evaluation found) {
      counts.insert(counts.end(), {found.all.counts(), found.unseen.counts(), {found.cold_targets}});
    };
    for (const auto split : {data::Split::kValid, data::Split::kTest}) {
      keep(trainer::evaluate_model(*teacher, *dataset_, split, true, place.context));
      keep(trainer::evaluate_model(*student, *dataset_, split, true, place.context));
      for (const auto kind : {trainer::Baseline::kPopularity, trainer::Baseline::kTransitions})
        keep(trainer::BaselineRanker(*dataset_, kind).evaluate(split, place.context));
    }
    const auto fidelity = trainer::measure_fidelity(*teacher, *student, *dataset_, 0.9, place.context);
    std::vector<double> values{fidelity.kl, fidelity.rbo};
    for (const auto* by : {&fidelity.overlap, &fidelity.tau})
      for (const auto& [k, value] : *by) values.push_back(value);
    const auto calibration = trainer::measure_calibration(*student, *dataset_, 15, place.context);
    values.insert(values.end(), {calibration.nll, calibration.top1_error, calibration.target_error});
    for (const auto& bin : calibration.target_bins) values.insert(values.end(), {bin.expected, bin.found});
    // Which ranks a process keeps differs; what segments make of them all does not.
    std::map<std::string, trainer::SideRecords> sides;
    for (const auto& [name, model] : {std::pair("teacher", teacher), {"student", student}}) {
      auto& side = sides[name];
      for (const auto split : {data::Split::kValid, data::Split::kTest}) {
        auto& kept = split == data::Split::kValid ? side.valid : side.test;
        static_cast<void>(trainer::evaluate_model(*model, *dataset_, split, true, place.context, &kept));
      }
    }
    auto& fidelities = sides["student"].fidelity;
    static_cast<void>(trainer::measure_fidelity(*teacher, *student, *dataset_, 0.9, place.context, &fidelities));
    const auto segments = trainer::segments_json(trainer::make_segments(*dataset_, trainer::EvaluateOptions()), sides,
                                                 "ndcg@10", place.context);
    return std::tuple(counts, values, segments.dump());
  };
  const auto here = evaluate(world(), 1);
  EXPECT_GT(std::get<0>(here)[0].back(), 1000) << "targets were ranked";
  EXPECT_EQ(evaluate(world(), 2), here) << "two threads";
  EXPECT_EQ(evaluate(*dist::make_single_communicator(torch::kCPU), 1), here) << "one rank";
}

}  // namespace
}  // namespace decant::multirank
