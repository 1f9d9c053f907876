#include "trainer/workspace.h"

#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "models/ready_model.h"
#include "trainer/columns.h"
#include "trainer/errors.h"
#include "trainer/loss_stages.h"
#include "trainer/sharded_parameters.h"
#include "trainer/table_exchange.h"
#include "trainer/teacher_chain.h"

namespace decant::trainer {
namespace {

/// The options of a side's training that decide its result. How often it is saved does not, nor what happens to a step
/// that is not finite: a run without one is the same, and one that stopped at it can go on with another option.
base::Json train_part(const base::Json& side) {
  base::Json train = side.at("train");
  for (const char* option :
       {"checkpoint_steps", "checkpoint_keep", "checkpoint_keep_best", "non_finite", "non_finite_limit"})
    train.erase(option);
  if (train.at("reduce_dtype") == "fp32") train.erase("reduce_dtype");  // as before there was a choice
  return train;
}

/// The options of a side's model that decide its result: over how many ranks its table is dealt does not.
base::Json model_part(const base::Json& side) {
  base::Json model = side.at("model");
  if (model.contains("table") && model["table"].is_object()) model["table"].erase("shards");
  if (model.contains("columns") && model["columns"].empty()) model.erase("columns");  // as before there were any
  return model;
}

/// Throws CheckpointError when the file says of itself that it is of another network or catalogue: shapes alone do not
/// tell the number of heads.
void check_same_network(const std::map<std::string, std::string>& metadata, const models::SequenceModel& model,
                        const std::string& catalogue_hash, const fs::path& path) {
  auto wanted = model.spec();
  wanted["catalogue_hash"] = catalogue_hash;
  for (const auto& [name, value] : wanted)
    if (const auto at = metadata.find(name); at != metadata.end() && at->second != value)
      throw CheckpointError(path.string(), "was made with " + name + " " + at->second + ", and this job has " + value);
}

/// Whether there is anything to balance among these losses: the control may have none.
bool balances(const BalanceOptions& balance, const base::Json& losses) {
  return balance.on() && losses.size() > 1 && losses.contains(balance.reference);
}

/// Nothing of a model without columns: as before there were any.
void add_columns(base::Json& parts, const base::KindOptions& model, const data::Dataset& dataset) {
  if (auto hashes = column_hashes(model, dataset); !hashes.is_null()) parts["columns"] = std::move(hashes);
}

/// Raised when a change of the code changes results, so that old stages are not taken for new ones.
constexpr int kTrainingVersion = 1;

}  // namespace

Workspace::Workspace(JobOptions& job_options, const Registries& kinds, Context& run_context)
    : job(job_options), registries(kinds), context(run_context), resolved(base::write_options(job_options)) {
  make_exchanges();
}

void Workspace::make_exchanges() {
  const int world = context.world();
  auto sides = resolved.value("teachers", base::Json::object());
  for (const char* side : {"teacher", "student"}) sides[std::string(".") + side] = resolved.at(side);
  exchanges_[world] = std::make_shared<TableExchange>(context.communicator);
  for (const auto& [name, side] : sides.items())
    if (const int shards = table_shards(side, world); shards > 0 && !exchanges_.contains(shards))
      exchanges_[shards] = std::make_shared<TableExchange>(context.communicator, shards);
}

fs::path weights_path(const fs::path& stage_folder) { return stage_folder / "weights.safetensors"; }

fs::path Workspace::dataset_folder() const {
  return job.data.dataset.empty() ? folder("dataset") : fs::path(job.data.dataset);
}

const data::Dataset& Workspace::dataset() {
  if (!dataset_ && job.data.dataset.empty() && !fs::exists(dataset_folder() / "manifest.json"))
    throw base::FileError(dataset_folder().string(), "is not there yet: run 'decant import' (or 'decant run') first");
  if (dataset_) return *dataset_;
  auto opened = std::make_unique<data::Dataset>(dataset_folder(), static_cast<std::size_t>(job.data.cache_mib) << 20);
  check_columns(job, opened->columns());
  const auto asked = columns_asked(job);
  opened->keep_columns({asked.begin(), asked.end()});
  columns_ = input_columns(*opened, asked);
  dataset_ = std::move(opened);
  return *dataset_;
}

const models::InputColumnMap& Workspace::columns() {
  static_cast<void>(dataset());
  return columns_;
}

models::ModelContext Workspace::context_of(const SideOptions& side, std::uint64_t salt) {
  models::ModelContext model_context;
  model_context.items = dataset().info().items;
  model_context.seed = base::key_of(seed_of(salt), salt);
  model_context.columns = &columns();
  model_context.teacher_width = &side == &job.student ? teacher_width(job, registries) : -1;
  model_context.exchange = [this](std::int64_t shards) {
    return exchanges_.at(shards == 0 ? context.world()
                                     : static_cast<int>(std::min<std::int64_t>(shards, context.world())));
  };
  return model_context;
}

std::shared_ptr<models::SequenceModel> Workspace::make_model(const SideOptions& side, std::uint64_t salt,
                                                             bool with_teacher) {
  auto model_context = context_of(side, salt);
  if (with_teacher)
    model_context.teacher_rows = [this](const torch::Tensor& ids) {
      const auto teacher = load_model(job.teacher, "teacher");
      const torch::NoGradGuard no_grad;
      return teacher->table().lookup(ids.to(context.communicator.device())).cpu();
    };
  auto model = registries.models.make(side.model, model_context);
  model->to(context.communicator.device());
  return model;
}

std::shared_ptr<models::SequenceModel> Workspace::load_model(const SideOptions& side, const std::string& stage) {
  const auto path = weights_path(folder(stage));
  if (!fs::exists(path))
    throw CheckpointError(path.string(), "is not there: run 'decant " +
                                             std::string(stage.starts_with("teacher") ? "train-teacher" : "distill") +
                                             "' first");
  auto model_context = context_of(side, 0);
  model_context.exported = true;
  auto model = registries.models.make(side.model, model_context);
  model->to(context.communicator.device());
  models::NamedTensors targets;
  for (const auto& item : model->named_parameters()) targets.emplace_back(item.key(), item.value());
  check_same_network(models::weights_metadata(path), *model, dataset().info().catalogue_hash, path);
  static_cast<void>(models::load_tensors(path, logical_tensors(targets, sharded_parameters(*model))));
  model->eval();
  return model;
}

std::vector<NamedLoss> Workspace::make_losses(const std::map<std::string, base::KindOptions>& kinds,
                                              bool with_labels) const {
  std::vector<NamedLoss> losses;
  for (const auto& [name, kind] : kinds) {
    auto loss = registries.losses.make(kind);
    if (loss->needs().labels && !with_labels) continue;
    losses.push_back(name_loss(name, *kind.options, std::move(loss)));
  }
  return losses;
}

std::uint64_t Workspace::seed_of(std::uint64_t salt) const {
  const bool own = salt != kStudentSalt && job.run.teacher_seed >= 0;
  return static_cast<std::uint64_t>(own ? job.run.teacher_seed : job.run.seed);
}

std::vector<LossStage> Workspace::student_stages(bool with_teacher) const {
  return trainer::student_stages(job, registries, resolved, with_teacher);
}

bool Workspace::wants_teacher_table() {
  bool asked = false;
  models::ModelContext one{1, 0, teacher_width(job, registries)};
  one.teacher_rows = [&](const torch::Tensor&) {
    asked = true;
    return torch::zeros({1, one.teacher_width});
  };
  static_cast<void>(registries.models.make(job.student.model, one));
  return asked;
}

base::Json Workspace::common_parts() {
  const auto& info = dataset().info();
  return {{"training_version", kTrainingVersion}, {"events", info.content_hash},
          {"catalogue", info.catalogue_hash},     {"seed", job.run.seed},
          {"batch", resolved.at("batch")},        {"group_rows", dataset().cached_rows()}};
}

std::string Workspace::teacher_key(const std::string& teacher) {
  const auto [options, stage, side, salt, left_out] = teacher_side(teacher);
  if (const auto file = models::ready_file(options.model.options.get()); !file.empty()) {
    auto model = model_part(side);
    model.erase("file");  // what is in it counts, not where it lies
    return stage_key({{"catalogue", dataset().info().catalogue_hash},
                      {"model", model},
                      {"script", base::hash_hex(base::read_file(file))}});
  }
  if (!options.weights.empty()) {
    base::Json given{{"catalogue", dataset().info().catalogue_hash},
                     {"model", model_part(side)},
                     {"weights", base::hash_hex(base::read_file(options.weights))}};
    add_columns(given, options.model, dataset());
    return stage_key(given);
  }
  auto parts = common_parts();
  add_columns(parts, options.model, dataset());
  for (const char* part : {"optimizer", "losses"}) parts[part] = side.at(part);
  parts["model"] = model_part(side);
  parts["train"] = train_part(side);
  parts["seed"] = seed_of(salt);
  if (salt != kTeacherSalt) parts["teacher"] = teacher;  // its first weights are its own
  for (const auto& set : sets_of_teacher(job, registries, teacher)) parts["labels"][set] = labels_key(set);
  return stage_key(parts);
}

std::string Workspace::teacher_hash(const std::string& teacher) {
  const auto stage = teacher_side(teacher).stage;
  const auto record = read_stage(folder(stage));
  if (!record || !record->done || record->key != teacher_key(teacher))
    throw CheckpointError(folder(stage).string(),
                          "holds no finished teacher of this job: run 'decant train-teacher' first");
  return record->result.at("weights_hash");
}

std::string Workspace::student_key(bool with_teacher) {
  auto parts = common_parts();
  add_columns(parts, job.student.model, dataset());
  const auto& side = resolved.at("student");
  parts["optimizer"] = side.at("optimizer");
  parts["model"] = model_part(side);
  parts["train"] = train_part(side);
  bool balanced = false;
  for (const auto& stage : student_stages(with_teacher)) {
    balanced = balanced || balances(job.student.balance, stage.resolved_losses);
    if (stage.name.empty()) {
      parts["losses"] = stage.resolved_losses;
      break;
    }
    parts["stages"][stage.name] = side.at("stages").at(stage.name);
    parts["stages"][stage.name]["losses"] = stage.resolved_losses;
  }
  if (with_teacher)
    for (const auto& set : used_sets()) parts["labels"][set] = labels_key(set);
  for (const auto& [part, on] : {std::pair("augment", job.student.augment.on()),
                                 {"perturbation", job.student.perturbation.on()},
                                 {"balance", balanced},
                                 {"screening", with_teacher && job.student.screening.on()}})
    if (on) parts[part] = side.at(part);
  if (with_teacher && label_sets(job, registries).contains(kOnlineSet))
    parts["online"] = {{"teacher", teacher_hash()}, {"k", job.labels.online_k()}};
  if (with_teacher && wants_teacher_table()) parts["teacher_table"] = teacher_hash();
  return stage_key(parts);
}

}  // namespace decant::trainer
