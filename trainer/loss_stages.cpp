#include "trainer/loss_stages.h"

#include <algorithm>

#include "base/random.h"
#include "trainer/errors.h"
#include "trainer/frozen.h"
#include "trainer/train.h"

namespace decant::trainer {
namespace {

using LossMap = std::map<std::string, base::KindOptions>;

std::vector<std::string> without_labels(const LossMap& losses, const Registries& registries) {
  std::vector<std::string> names;
  for (const auto& [name, kind] : losses)
    if (!registries.losses.make(kind)->needs().labels) names.push_back(name);
  return names;
}

base::Json only(const base::Json& losses, const std::vector<std::string>& names) {
  base::Json out = base::Json::object();
  for (const auto& name : names) out[name] = losses.at(name);
  return out;
}

/// Where the control finds losses for stage `at`; its own when it has any.
std::size_t stage_of_control_losses(std::size_t at, const std::vector<LossStage>& stages,
                                    const Registries& registries) {
  const auto has = [&](std::size_t i) { return !without_labels(*stages[i].losses, registries).empty(); };
  for (std::size_t i = at; i < stages.size(); ++i)
    if (has(i)) return i;
  for (std::size_t i = at; i-- > 0;)
    if (has(i)) return i;
  return at;
}

std::string key_of_stage(const std::string& key, const LossStage& stage) {
  return stage.name.empty() ? key : stage_key({{"stage", key}, {"loss_stage", stage.name}});
}

/// The stage of the newest checkpoint; the first when there is none.
std::size_t stage_to_continue(const std::vector<LossStage>& stages, const std::string& key, const fs::path& folder) {
  if (stages.size() == 1) return 0;
  for (const auto& found : checkpoint_keys(folder / "checkpoints"))
    for (std::size_t i = 0; i < stages.size(); ++i)
      if (found == key_of_stage(key, stages[i])) return i;
  return 0;
}

/// The model's weights as the stage before left them, and the parameters of losses that go on under their names.
void take_over(Task& task, const fs::path& path) {
  const auto shapes = models::weights_shapes(path);
  std::vector<models::LogicalTensor> targets;
  for (auto& target : logical_tensors(task.parameters(), task.sharded())) {
    const auto at = shapes.find(target.name);
    const bool of_loss = target.name.starts_with("loss.");
    if (!of_loss || (at != shapes.end() && at->second == target.shape)) targets.push_back(std::move(target));
  }
  static_cast<void>(models::load_tensors(path, targets, models::Surplus::kPassedOver));
}

/// Patterns for parameters of losses, which are known only now. The control has not all of the losses.
void check_loss_patterns(Task& task, const SideTraining& training, const LossStage& stage) {
  if (training.stage == "control") return;
  std::vector<std::string> names, patterns;
  for (const auto& [name, tensor] : task.parameters()) names.push_back(name);
  for (const auto& pattern : stage.train.frozen)
    if (pattern.starts_with("loss.")) patterns.push_back(pattern);
  check_frozen_patterns(patterns, names,
                        training.stage + (stage.name.empty() ? ".train" : ".stages." + stage.name) + ".frozen");
}

/// The student's recipe; the control has what needs no teacher of it.
RunFacts facts_of(Workspace& space, const SideTraining& training, std::uint64_t seed) {
  RunFacts facts{seed, {}};
  if (training.labels != nullptr) facts.vector_widths = training.labels->widths("vectors");
  const auto& student = space.job.student;
  if (&training.side != &student) return facts;
  facts.augment = student.augment;
  facts.perturbation = student.perturbation;
  if (!training.with_teacher) return facts;
  facts.screening = student.screening;
  if (label_sets(space.job, space.registries).contains(kOnlineSet))
    facts.online =
        std::make_shared<OnlineTeacher>(space.load_model(space.job.teacher, "teacher"), space.job.labels.online_k());
  return facts;
}

/// A control has no teacher's table, and random rows that are frozen would be none: it trains its table.
models::NamedTensors may_freeze(Task& task, models::SequenceModel& model, bool all_but_table) {
  auto parameters = task.parameters();
  if (all_but_table)
    for (const auto& kept : model.table().parameters())
      std::erase_if(parameters, [&](const auto& named) { return named.second.is_same(kept); });
  return parameters;
}

/// The state in which the next stage begins: with a new epoch, and nothing that was best.
TrainState next_state(const TrainState& end) {
  TrainState next;
  next.step = next.first_step = end.step;
  next.position = end.position.row == 0 ? end.position : data::Position{end.position.epoch + 1, 0};
  next.first_epoch = next.position.epoch;
  next.curve = end.curve;
  next.finished = end.finished;
  next.skipped = end.skipped;
  next.skipped_in_row = end.skipped_in_row;
  return next;
}

base::Json summary_of(const LossStage& stage, const TrainState& end, const std::string& select) {
  return {{"name", stage.name},          {"steps", end.step - end.first_step}, {"first_step", end.first_step},
          {"best_step", end.best_step},  {"best_value", end.best_value},       {"select", select},
          {"stopped_by", end.stopped_by}};
}

}  // namespace

std::vector<const LossMap*> student_losses(const JobOptions& job) {
  std::vector<const LossMap*> out;
  for (const auto& [name, stage] : job.student.stages)
    out.push_back(stage->losses.empty() ? &job.losses : &stage->losses);
  if (out.empty()) out.push_back(&job.losses);
  return out;
}

LossStage only_stage(const LossMap& losses, const TrainOptions& train) { return {"", &losses, {}, train}; }

std::vector<LossStage> student_stages(const JobOptions& job, const Registries& registries, const base::Json& resolved,
                                      bool with_teacher) {
  std::vector<LossStage> stages;
  for (const auto& [name, stage] : job.student.stages) {
    const auto& all =
        stage->losses.empty() ? resolved.at("losses") : resolved.at("student").at("stages").at(name).at("losses");
    stages.push_back({name, stage->losses.empty() ? &job.losses : &stage->losses, all, stage->over(job.student.train),
                      stage->lr, stage->start == "last"});
  }
  if (stages.empty()) stages.push_back({"", &job.losses, resolved.at("losses"), job.student.train});
  if (with_teacher) return stages;
  const auto students = stages;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const auto& from = students[stage_of_control_losses(i, students, registries)];
    stages[i].losses = from.losses;
    stages[i].resolved_losses = only(from.resolved_losses, without_labels(*from.losses, registries));
  }
  return stages;
}

base::Json train_in_stages(Workspace& space, const SideTraining& training) {
  auto& context = space.context;
  const auto folder = space.folder(training.stage);
  const auto seed = base::key_of(space.seed_of(training.salt), training.salt);
  const auto model = space.make_model(training.side, training.salt, training.with_teacher);
  auto metadata = model->spec();
  metadata["stage"] = training.stage;
  metadata["catalogue_hash"] = space.dataset().info().catalogue_hash;
  const auto& stages = training.loss_stages;
  const bool control_of_table = training.stage == "control" && space.wants_teacher_table();
  const auto path_of = [&](std::size_t i) { return folder / "stages" / (stages[i].name + ".safetensors"); };
  const std::size_t first = stage_to_continue(stages, training.key, folder);
  base::Json result;
  TrainState begin;
  const auto facts = facts_of(space, training, seed);
  for (std::size_t i = first; i < stages.size(); ++i) {
    const auto& stage = stages[i];
    const bool last = i + 1 == stages.size();
    NextItem task(model, space.make_losses(*stage.losses, training.with_teacher || training.labels != nullptr),
                  space.dataset(), stage.train.softmax, context, facts);
    check_loss_patterns(task, training, stage);
    if (i > first) take_over(task, path_of(i - 1));
    const Frozen frozen(may_freeze(task, *model, control_of_table), stage.train.frozen);
    const auto optimizer = space.registries.optimizers.make(training.side.optimizer, trainable(task.parameters()));
    TrainSetup setup{training.stage,
                     folder,
                     key_of_stage(training.key, stage),
                     seed,
                     model->max_length(),
                     space.dataset(),
                     training.labels,
                     space.job.batch,
                     stage.train,
                     stage.name,
                     stage.lr,
                     begin};
    setup.left_out = training.left_out;
    if (&training.side == &space.job.student) setup.balance = space.job.student.balance;
    if (!last) setup.hand_over = path_of(i), setup.hand_over_last = stages[i + 1].from_last;
    auto trained = train(task, *optimizer, setup, context, metadata);
    trained.end.finished.push_back(summary_of(stage, trained.end, stage.train.select));
    begin = next_state(trained.end);
    result = trained.to_json();
    if (stages.size() > 1) result["stages"] = trained.end.finished;
  }
  if (context.leads()) result["weights_hash"] = models::hash_weights(weights_path(folder));
  return result;
}

}  // namespace decant::trainer
