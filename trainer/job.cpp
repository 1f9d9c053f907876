#include "trainer/job.h"

#include <algorithm>
#include <filesystem>

#include "models/ready_model.h"
#include "trainer/columns.h"
#include "trainer/folds.h"
#include "trainer/label_checks.h"
#include "trainer/online_teacher.h"
#include "trainer/ranking.h"
#include "trainer/sharing.h"
#include "trainer/task.h"
#include "trainer/teacher_chain.h"

namespace decant::trainer {

using base::ConfigError;
using base::Fields;

Registries default_registries() {
  Registries registries;
  models::register_models(registries.models);
  register_losses(registries.losses);
  register_optimizers(registries.optimizers);
  return registries;
}

void RunOptions::describe(Fields& fields) {
  fields.text("folder", folder, "where everything of this run is written; made when absent");
  fields.integer("seed", seed, {0, 9e15}, "of initial values, order, dropout and negatives");
  fields.integer("teacher_seed", teacher_seed, {-1, 9e15},
                 "the teacher's own, so that seeds of the student share one; -1: seed");
  fields.text("device", device, "auto: CUDA where a GPU is visible", {"auto", "cpu", "cuda"});
  fields.integer("threads", threads, {0, 4096}, "a rank; 0: the host's cores shared among its ranks");
  fields.integer("timeout_seconds", timeout_seconds, {1, 86400}, "a collective that waits longer ends the job");
}

void DataOptions::describe(Fields& fields) {
  fields.text("dataset", dataset, "a dataset folder to use; empty: <run.folder>/dataset, made from data.import");
  fields.integer("cache_mib", cache_mib, {1, 1e7},
                 "MiB a rank keeps of the dataset, and as much of labels; also the "
                 "size of a shuffling group, so it affects the order of large data");
  fields.group("import", import, "how raw files become a dataset");
}

void ScheduleOptions::describe(Fields& fields) {
  fields.integer("warmup_steps", warmup_steps, {0, 1e12}, "steps of linear rise from 0 to the learning rate");
  fields.text("decay", decay, "after warm-up", {"constant", "linear", "cosine"});
  fields.integer("decay_steps", decay_steps, {0, 1e12}, "steps of decay; then the final fraction stays");
  fields.real("final_fraction", final_fraction, {0, 1}, "of the learning rate at the end of decay");
}

void SoftmaxOptions::describe(Fields& fields) {
  fields.text("kind", kind, "full: over the catalogue; sampled: over uniform negatives", {"full", "sampled"});
  fields.integer("negatives", negatives, {1, 1e9}, "sampled: items drawn a step, shared by the global batch");
  fields.flag("log_q", log_q, "sampled: correct the log-sum-exp to estimate the full one");
}

void TrainOptions::describe(Fields& fields) {
  fields.integer("max_epochs", max_epochs, {1, 1e9}, "passes over the training split");
  fields.integer("max_steps", max_steps, {0, 1e15}, "optimiser steps; 0: no bound");
  fields.text("select", select,
              "metric on valid, all items ranked, that chooses the best weights: recall, ndcg or mrr "
              "at 1, 5, 10, 20 or 50");
  fields.integer("patience", patience, {0, 1e9}, "validations without a better value before stopping; 0: never");
  fields.integer("validate_epochs", validate_epochs, {1, 1e9}, "epochs between validations");
  fields.integer("checkpoint_steps", checkpoint_steps, {0, 1e12},
                 "steps between checkpoints beside the one at every "
                 "validation; 0: none");
  fields.integer("checkpoint_keep", checkpoint_keep, {1, 1e6}, "newest checkpoints that are kept");
  fields.flag("checkpoint_keep_best", checkpoint_keep_best, "keep the checkpoint of the best validation too");
  fields.real("clip_norm", clip_norm, {0, 1e12}, "bound of the gradient's global L2 norm; 0: none");
  fields.text("non_finite", non_finite,
              "a step whose loss or gradient is not finite on any rank: stop, or skip it, with a count",
              {"stop", "skip"});
  fields.integer("non_finite_limit", non_finite_limit, {0, 1e9}, "skip: so many steps in a row; one more stops");
  fields.text(
      "reduce_dtype", reduce_dtype,
      "of gradients on their way between ranks: bf16 halves the bytes, rounds each rank's gradient and the sum, "
      "which is added up in fp32; not for what a sharded table sends",
      {"fp32", "bf16"});
  fields.texts("frozen", frozen,
               "parameters that keep their first values, by name; '*' stands for any letters, '?' for one");
  fields.group("schedule", schedule, "learning rate by step");
  fields.group("softmax", softmax, "what a step's cross-entropy is normalised over");
}

void SideOptions::describe(Fields& fields) {
  fields.kind("model", model, registries_->models, "what is trained");
  fields.kind("optimizer", optimizer, registries_->optimizers, "how");
  fields.group("train", train, "how long, and what is kept");
}

void StageOptions::describe(Fields& fields) {
  fields.kinds("losses", losses, registries_->losses, "the stage's losses by name; none: those of the job");
  fields.real("lr", lr, {0, 1e6}, "learning rate after warm-up; 0: the optimiser's");
  fields.group("schedule", schedule, "learning rate by step of the stage");
  fields.texts("frozen", frozen, "beside train.frozen");
  fields.integer("max_epochs", max_epochs, {0, 1e9}, "passes in this stage; 0: as train.max_epochs");
  fields.integer("max_steps", max_steps, {-1, 1e15}, "steps in this stage; 0: no bound; -1: as train.max_steps");
  fields.integer("patience", patience, {-1, 1e9}, "as train.patience, for this stage; -1: that one");
  fields.text("start", start, "which weights of the stage before this one begins with", {"best", "last"});
}

TrainOptions StageOptions::over(const TrainOptions& train) const {
  TrainOptions out = train;
  out.schedule = schedule;
  out.frozen.insert(out.frozen.end(), frozen.begin(), frozen.end());
  if (max_epochs > 0) out.max_epochs = max_epochs;
  if (max_steps >= 0) out.max_steps = max_steps;
  if (patience >= 0) out.patience = patience;
  return out;
}

StudentOptions::StudentOptions(const Registries& registries)
    : SideOptions(registries), stages([&registries] { return std::make_unique<StageOptions>(registries); }) {}

void StudentOptions::describe(Fields& fields) {
  SideOptions::describe(fields);
  fields.groups(
      "stages", stages,
      "stages of training, one after the other (docs/recipes.md); none: one, of the job's losses and 'train'");
  fields.group("augment", augment, "other views of the rows of a step; label losses then need the label set 'online'");
  fields.group("perturbation", perturbation, "a second pass over item vectors that are moved against the student");
  fields.group("balance", balance, "losses scaled to gradients of one length, before their weights");
  fields.group("screening", screening, "labels that are not to be trusted");
}

TeacherOptions::TeacherOptions(const Registries& registries) : SideOptions(registries) {
  losses["ce"] = {"ce", nullptr};
}

void TeacherOptions::describe(Fields& fields) {
  SideOptions::describe(fields);
  fields.text("weights", weights, "a safetensors file to take as the teacher; empty: train it");
  fields.text("gate", gate,
              "when popularity, transitions or the control beats it on valid, by student.train.select: stop before "
              "labels are made, or warn and go on",
              {"stop", "warn"});
  fields.kinds("losses", losses, registries_->losses,
               "the teacher's losses by name; on labels of another teacher (docs/recipes.md) or without");
}

void SegmentOptions::describe(Fields& fields) {
  fields.text("file", file, "lines of an original id, a tab, a value; ids that the dataset has not are passed over");
  fields.text("of", of, "whose ids these are", {"item", "user"});
}

void EvaluateOptions::describe(Fields& fields) {
  fields.real("rbo_p", rbo_p, {0.01, 0.999},
              "of rank-biased overlap: the chance that a reader looks one place further");
  fields.integer("calibration_bins", calibration_bins, {1, 10000}, "bins of equal width of the calibration errors");
  fields.groups("segments", segments, "targets divided by an attribute, beside item popularity and history length");
  fields.integer("segment_values", segment_values, {1, 1e6},
                 "the most frequent values of an attribute; the rest is 'other'");
  fields.flag("print_segments", print_segments, "print the segments below the table");
}

void EvaluateOptions::check() const {
  for (const auto& [name, segment] : segments) {
    const std::string key = "evaluate.segments." + name;
    if (name == "popularity" || name == "history")
      throw ConfigError("'" + key + "' is taken: every report divides by it already");
    if (segment->file.empty()) throw ConfigError("'" + key + ".file' is missing: the values by original id");
    if (!std::filesystem::exists(segment->file))
      throw ConfigError("'" + key + ".file': there is no file " + segment->file);
  }
}

JobOptions::JobOptions(const Registries& registries)
    : teacher(registries),
      teachers([&registries] { return std::make_unique<TeacherOptions>(registries); }),
      student(registries),
      registries_(&registries) {
  losses["ce"] = {"ce", nullptr};
  losses["kl_tail"] = {"kl_tail", nullptr};
}

void JobOptions::describe(Fields& fields) {
  fields.integer("version", version, {1, 1}, "of the job file's format");
  fields.group("run", run, "the run as a whole");
  fields.group("data", data, "what is learnt from");
  fields.group("batch", batch, "what a step takes");
  fields.group("teacher", teacher, "the large model");
  fields.groups("teachers", teachers, "further teachers by name, for 'labels.sets'; several may share weights' files");
  fields.group("student", student, "the small model; the control is the same without a teacher");
  fields.kinds("losses", losses, registries_->losses, "the student's losses by name");
  fields.group("labels", labels, "what is stored of the teacher");
  fields.group("evaluate", evaluate, "what is measured at the end");
  fields.group("sweep", sweep, "what `decant sweep` tries");
  fields.group("monitoring", monitoring, "Prometheus metrics");
}

namespace {

/// Makes what the side names, so that a wrong combination of options is told before any work is done.
void check_side(const std::string& name, const SideOptions& side, const Registries& registries) {
  check_metric_name(name + ".train.select", side.train.select);
  std::string part = ".model";
  try {
    const auto model = registries.models.make(side.model, models::ModelContext{1, 0});
    part = ".optimizer";
    models::NamedTensors parameters;
    for (const auto& item : model->named_parameters()) parameters.emplace_back(item.key(), item.value());
    static_cast<void>(registries.optimizers.make(side.optimizer, parameters));
  } catch (const ConfigError& error) {
    throw ConfigError("'" + name + part + "': " + error.what());
  }
}

}  // namespace

void JobOptions::check_losses() const {
  bool control = false;
  for (const auto* kinds : student_losses(*this))
    for (const auto& [name, kind] : *kinds) {
      const auto named = name_loss(name, *kind.options, registries_->losses.make(kind));
      control = control || !named.loss->needs().labels;
      check_loss_of(*this, *registries_, named, student, "student");
    }
  if (!control) throw ConfigError("every loss needs labels, so there can be no control: add 'ce'");
}

void JobOptions::check() const {
  if (run.folder.empty()) throw ConfigError("'run.folder' is missing: the folder this run is written to");
  if (data.dataset.empty() && data.import.files.empty())
    throw ConfigError("nothing to learn from: name 'data.import.files' or 'data.dataset'");
  monitoring.check();
  evaluate.check();
  sweep.check();
  if (losses.empty()) throw ConfigError("'losses' is empty: the student needs at least one");
  std::vector<const ScheduleOptions*> schedules{&teacher.train.schedule, &student.train.schedule};
  for (const auto& [name, side] : teachers) schedules.push_back(&side->train.schedule);
  for (const auto* schedule : schedules)
    if (schedule->decay != "constant" && schedule->decay_steps == 0)
      throw ConfigError("'train.schedule.decay: " + schedule->decay + "' needs 'decay_steps' above 0");
  if (models::is_ready_model(student.model.options.get()))
    throw ConfigError("'student.model': a model of type '" + student.model.type +
                      "' is taken from a file as it is and cannot be trained; it can be a teacher");
  check_side("teacher", teacher, *registries_);
  check_side("student", student, *registries_);
  for (const auto& [name, side] : teachers) check_side("teachers." + name, *side, *registries_);
  check_columns(*this);
  check_label_sets(*this);
  check_stages();
  check_frozen();
  check_losses();
  check_recipe();
  check_teachers(*this, *registries_);
  check_folds(*this, *registries_);
  check_sharded_teachers(*this, *registries_);
}

}  // namespace decant::trainer
