#include "tests/multirank/parity_fixture.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "data/import.h"
#include "data/synthesize.h"
#include "models/initial.h"
#include "trainer/scoring.h"

namespace decant::multirank {
namespace {

using dist::Communicator;

constexpr std::int64_t kMostItems = 300;

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

/// Lines of users with so many events each.
std::string log_of(const std::vector<std::int64_t>& lengths) {
  std::string text;
  for (std::size_t user = 0; user < lengths.size(); ++user) {
    text += "u" + std::to_string(user) + "\t";
    for (std::int64_t i = 0; i < lengths[user]; ++i)
      text += "i" + std::to_string(base::key_of(user, static_cast<std::uint64_t>(i)) % 120) + " ";
    text.back() = '\n';
  }
  return text;
}

/// The last two events are those of valid and test, and the first is nobody's target.
std::vector<std::int64_t> uneven_lengths() {
  std::vector<std::int64_t> lengths;
  for (std::int64_t row = 0; row < 21; ++row) lengths.push_back(3 + (row % 5 == 2 ? 100 : 1 + row % 3));
  return lengths;
}

void import(const fs::path& folder) {
  data::ImportOptions options;
  options.files = {(folder / "log.txt").string()};
  static_cast<void>(data::import_dataset(options, folder / "dataset"));
}

void make_datasets(const fs::path& folder) {
  for (const char* name : {"even", "uneven", "single"}) fs::create_directories(folder / name);
  data::SynthesizeOptions log;
  log.users = 2200, log.items = kMostItems, log.mean_length = 10;
  data::synthesize(log, folder / "even/log.txt");
  base::write_file(folder / "uneven/log.txt", log_of(uneven_lengths()));
  base::write_file(folder / "single/log.txt", log_of({60}));
  for (const char* name : {"even", "uneven", "single"}) import(folder / name);
}

std::vector<trainer::NamedLoss> make_losses(const Job& job) {
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

std::shared_ptr<trainer::Optimizer> make_optimizer(const Job& job, const models::NamedTensors& parameters) {
  const auto registries = trainer::default_registries();
  const std::string type = job.loss.empty() ? "adamw" : "sgd";
  base::KindOptions kind{type, registries.optimizers.options_of(type)};
  base::read_options({{"lr", job.loss.empty() ? 1e-2 : 0.3}, {"weight_decay", 0.01}}, *kind.options);
  return registries.optimizers.make(kind, parameters);
}

trainer::RunFacts facts() { return {3, {{"hidden", EveryLabel::kWidth}}}; }

double metric(const monitoring::Metrics& metrics, const std::string& name) {
  const std::string text = metrics.text();
  const auto line = text.find("\n" + name + "{");
  return line == std::string::npos ? NAN : std::stod(text.substr(text.find("} ", line) + 2));
}

}  // namespace

fs::path Parity::folder_;
std::unique_ptr<Corpus> Parity::even_, Parity::uneven_, Parity::single_;

Gap gap_of(const Outcome& a, const Outcome& b) {
  Gap gap = gap_of(a.parameters, b.parameters);
  EXPECT_EQ(a.curve.size(), b.curve.size());
  for (std::size_t i = 0; i < std::min(a.curve.size(), b.curve.size()); ++i)
    for (const auto& [name, value] : a.curve[i].at("loss").items()) {
      const double mean = value, wanted = b.curve[i].at("loss").at(name);
      if (mean != wanted) widen(gap.losses, std::abs(mean - wanted) / std::abs(wanted));
    }
  return gap;
}

base::Json small_options(const std::string& type) {
  if (type == "rrd") return {{"interesting", 6}, {"uninteresting", 20}, {"weight", 0.05}};
  if (type == "rd") return {{"depth", 5}, {"drawn", 20}};
  if (type == "crd") return {{"negatives", 50}, {"width", 8}, {"weight", 0.05}};
  if (type == "dkd") return {{"temperature", 2}, {"weight", 0.1}};
  return {{"weight", 0.3}};
}

trainer::NamedLoss make_loss(const Job& job) {
  const auto registries = trainer::default_registries();
  base::KindOptions kind{job.loss, registries.losses.options_of(job.loss)};
  base::read_options(job.options, *kind.options);
  return trainer::name_loss(job.loss, *kind.options, registries.losses.make(kind));
}

std::map<std::string, std::string> hashes_of(const fs::path& folder) {
  std::map<std::string, std::string> hashes;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file())
      hashes[entry.path().filename().string()] = base::hash_hex(base::read_file(entry.path()));
  return hashes;
}

void EveryLabel::begin_step(std::int64_t step) {
  NextItem::begin_step(step);
  step_ = step;
  if (job_->seen != nullptr) (*job_->seen)[step].clear();
  if (job_->stop_after > 0 && step + 1 == job_->stop_after) *stop_ = true;
}

std::vector<torch::Tensor> EveryLabel::loss_sums(const data::LabelledBatch& batch, std::uint64_t step_key) {
  if (job_->seen != nullptr) {
    auto& rows = (*job_->seen)[step_];
    rows.insert(rows.end(), batch.batch.sample_ids.begin(), batch.batch.sample_ids.end());
  }
  return NextItem::loss_sums(batch, step_key);
}

trainer::LabelSets EveryLabel::stored_labels(const data::LabelledBatch& batch, const std::set<double>& more) {
  std::vector<trainer::NamedLoss> stored;
  bool vectors = false;
  for (const auto& named : losses())
    (named.sets == std::vector<std::string>{"hidden"} ? vectors = true : (stored.push_back(named), false));
  auto sets = trainer::decode_labels(batch, stored, torch::kCPU, more);
  const auto targets = torch::tensor(batch.batch.target_ids, torch::kInt64);
  if (const auto at = sets.find("teacher"); at != sets.end()) {
    at->second.draw_weights = at->second.logits.softmax(1), at->second.drawn_at = 2;
    at->second.logit_mean = targets.to(torch::kFloat32) / kMostItems;
    at->second.logit_variance = 1 + at->second.logit_mean;
  }
  if (vectors)
    sets["hidden"].vectors = models::initial_normal({kMostItems, kWidth}, 1, 5, "vectors").index_select(0, targets);
  return sets;
}

void Parity::open(std::unique_ptr<Corpus>& corpus, const std::string& name, std::int64_t max_length) {
  corpus = std::make_unique<Corpus>(folder_ / name, max_length);
  corpus->dataset = std::make_unique<data::Dataset>(corpus->folder / "dataset");
  label(world(), *corpus, "labels", 1);
  corpus->labels = std::make_unique<data::LabelStore>(
      std::map<std::string, fs::path>{{"teacher", corpus->folder / "labels"}}, *corpus->dataset, max_length);
}

void Parity::SetUpTestSuite() {
  folder_ = make_shared_folder("decant-parity");
  alone([](Communicator&) { make_datasets(folder_); });
  open(even_, "even", 20);
  open(uneven_, "uneven", 100);
  open(single_, "single", 100);
}

void Parity::TearDownTestSuite() {
  for (auto* corpus : {&even_, &uneven_, &single_}) corpus->reset();
  remove_shared_folder(folder_);
}

std::shared_ptr<models::SasRec> Parity::make_model(const Corpus& corpus, std::int64_t dim, std::uint64_t seed) {
  models::SasRecOptions options;
  options.dim = dim;
  options.max_length = corpus.max_length;
  return std::make_shared<models::SasRec>(options, models::ModelContext{corpus.dataset->info().items, seed});
}

std::shared_ptr<models::SasRec> Parity::make_teacher(const Corpus& corpus) {
  auto teacher = make_model(corpus, 32, 7);
  const torch::NoGradGuard no_grad;
  teacher->named_parameters()["item.weight"].mul_(20);
  return teacher;
}

trainer::LabelResult Parity::label(Communicator& communicator, const Corpus& corpus, const std::string& name,
                                   int threads, bool stop, const Kind& asked) {
  const auto& info = corpus.dataset->info();
  data::LabelSpec spec;
  spec.kind = asked.type;
  spec.key = "parity";
  spec.teacher_hash = "random";
  spec.catalogue_hash = info.catalogue_hash;
  spec.content_hash = info.content_hash;
  spec.max_length = corpus.max_length;
  spec.items = info.items;
  spec.rows = info.rows;
  spec.options = asked.options;
  const auto kind = trainer::kind_of(spec);
  const auto teacher = make_teacher(corpus);
  spec.columns = kind->columns(trainer::label_shape(*teacher, *kind, *corpus.dataset, data::Element::kF16));
  Place place(communicator, folder_, threads);
  place.stop = stop;
  return trainer::label_dataset({{teacher}}, *kind, *corpus.dataset, spec, corpus.folder / name, place.context);
}

Job Parity::main_job() {
  Job job;
  job.corpus = even_.get();
  job.batch.sequences = 300;
  job.batch.accumulate = 2;
  job.batch.rank_tokens = 500;
  job.train.max_steps = 5;
  job.train.patience = 0;
  job.train.clip_norm = 0.05;
  return job;
}

Outcome Parity::train(Communicator& communicator, const std::string& name, const Job& job) {
  const auto& corpus = *job.corpus;
  Place place(communicator, folder_ / name, 1, job.fault);
  EveryLabel task(make_model(corpus, 16, 11), make_losses(job), *corpus.dataset, job.train.softmax, place.context,
                  facts());
  task.watch(job, place.stop);
  const auto optimizer = make_optimizer(job, task.parameters());
  const auto* labels = job.labels ? corpus.labels.get() : nullptr;
  trainer::TrainSetup setup{"student",       folder_ / name, "parity",  3,        corpus.max_length,
                            *corpus.dataset, labels,         job.batch, job.train};
  setup.balance = job.balance;
  Outcome out;
  const auto result = trainer::train(task, *optimizer, setup, place.context, {});
  out.curve = result.curve;
  out.stopped_by = result.stopped_by;
  for (const auto& [key, tensor] : task.parameters()) out.parameters.emplace_back(key, tensor.detach().clone());
  out.norm = metric(place.metrics, "decant_gradient_norm");
  return out;
}

Outcome Parity::train_alone(const std::string& name, const Job& job) {
  Outcome out;
  const auto one = dist::make_single_communicator(torch::kCPU);
  if (world().rank() == 0) {
    out = train(*one, name, job);
  } else {
    Place place(*one, folder_);
    EveryLabel task(make_model(*job.corpus, 16, 11), make_losses(job), *job.corpus->dataset, job.train.softmax,
                    place.context, facts());
    for (const auto& [key, tensor] : task.parameters()) out.parameters.emplace_back(key, at::zeros_like(tensor));
  }
  for (auto& [key, tensor] : out.parameters) world().broadcast(tensor, 0)->wait();
  out.curve = base::Json::parse(world().broadcast_bytes(out.curve.dump(), 0));
  return out;
}

void Parity::copy_folder(const std::string& from, const std::string& to) {
  world().barrier();
  if (world().rank() == 0) fs::copy(folder_ / from, folder_ / to, fs::copy_options::recursive);
  world().barrier();
}

bool Parity::is_the_same_everywhere(const std::string& bytes) {
  const auto all = world().gather_bytes(bytes);
  return std::all_of(all.begin(), all.end(), [&](const auto& other) { return other == all.front(); });
}

void Parity::expect_parity(const std::string& row, const Job& job) {
  std::string name = row;
  std::replace(name.begin(), name.end(), ' ', '-');
  const Outcome here = train(world(), name, job), alone = train_alone(name + "-alone", job);
  const Gap gap = gap_of(here, alone);
  tell("jobs", row, gap);
  expect_within_tolerance(gap, row);
  EXPECT_LE(gap.losses, kLossTolerance) << row;
  EXPECT_GT(here.norm, job.train.clip_norm) << row << ": nothing was clipped";
  EXPECT_TRUE(is_the_same_everywhere(models::hash_tensors(here.parameters))) << row;
  const Outcome fresh = train(world(), name + "-again", job);
  EXPECT_EQ(models::hash_tensors(fresh.parameters), models::hash_tensors(here.parameters))
      << row << ": not reproducible";
}

}  // namespace decant::multirank
