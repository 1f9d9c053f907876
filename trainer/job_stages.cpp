// Checks of a job's stages of training, frozen parameters and steps beyond losses.
#include <set>

#include <algorithm>

#include "models/input_columns.h"
#include "trainer/frozen.h"
#include "trainer/job.h"
#include "trainer/label_checks.h"
#include "trainer/online_teacher.h"
#include "trainer/task.h"
#include "trainer/teacher_chain.h"

namespace decant::trainer {
namespace {

std::vector<std::string> parameter_names(const Registries& registries, const SideOptions& side,
                                         std::int64_t teacher_width) {
  std::vector<std::string> names;
  models::ModelContext one{1, 0, teacher_width};
  if (teacher_width > 0)
    one.teacher_rows = [=](const torch::Tensor&) { return torch::zeros({1, teacher_width}); };  // widths are checked
  for (const auto& item : registries.models.make(side.model, one)->named_parameters()) names.push_back(item.key());
  return names;
}

void check_decay(const ScheduleOptions& schedule, const std::string& key) {
  if (schedule.decay != "constant" && schedule.decay_steps == 0)
    throw base::ConfigError("'" + key + ".decay: " + schedule.decay + "' needs 'decay_steps' above 0");
}

void check_balance(const JobOptions& job) {
  const auto& balance = job.student.balance;
  if (!balance.on()) return;
  bool found = false;
  std::set<std::string> known;
  for (const auto* kinds : student_losses(job)) {
    for (const auto& [name, kind] : *kinds) known.insert(name);
    if (!kinds->contains(balance.reference)) continue;
    if (kinds->size() > 1) return;
    found = true;
  }
  const std::string key = "'student.balance.reference: " + balance.reference + "' ";
  if (found) throw base::ConfigError(key + "has no other loss beside it: there is nothing to balance");
  throw base::ConfigError(key + "is not among the losses (" + base::join({known.begin(), known.end()}) + ")");
}

}  // namespace

void JobOptions::check_stages() const {
  if (student.stages.empty()) return;
  const ScheduleOptions plain;
  const auto& schedule = student.train.schedule;
  if (schedule.warmup_steps != plain.warmup_steps || schedule.decay != plain.decay)
    throw base::ConfigError("'student.train.schedule' has no meaning beside 'student.stages': give each stage its own");
  for (const auto& [name, stage] : student.stages) {
    // A name becomes a file's.
    if (name.empty() ||
        name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != std::string::npos)
      throw base::ConfigError("'student.stages': the name '" + name + "' may have letters, digits, '_' and '-' only");
    check_decay(stage->schedule, "student.stages." + name + ".schedule");
  }
}

void JobOptions::check_frozen() const {
  // Parameters of losses are made when a run begins, and patterns for them are checked then.
  const auto check = [](std::vector<std::string> patterns, const std::vector<std::string>& names,
                        const std::string& key) {
    std::erase_if(patterns, [](const auto& pattern) { return pattern.starts_with("loss."); });
    check_frozen_patterns(patterns, names, key);
  };
  check(teacher.train.frozen, parameter_names(*registries_, teacher, -1), "teacher.train.frozen");
  for (const auto& [name, side] : teachers)
    check(side->train.frozen, parameter_names(*registries_, *side, -1), "teachers." + name + ".train.frozen");
  const auto names = parameter_names(*registries_, student, teacher_width(*this, *registries_));
  check(student.train.frozen, names, "student.train.frozen");
  for (const auto& [name, stage] : student.stages)
    check(stage->over(student.train).frozen, names, "student.stages." + name + ".frozen");
}

std::set<std::string> label_sets(const std::map<std::string, base::KindOptions>& losses, const Registries& registries) {
  std::set<std::string> sets;
  for (const auto& [name, kind] : losses) {
    const auto named = name_loss(name, *kind.options, registries.losses.make(kind));
    sets.insert(named.sets.begin(), named.sets.end());
  }
  return sets;
}

std::set<std::string> label_sets(const JobOptions& job, const Registries& registries) {
  std::set<std::string> sets;
  for (const auto* losses : student_losses(job)) sets.merge(label_sets(*losses, registries));
  return sets;
}

void JobOptions::check_recipe() const {
  auto stored = label_sets(*this, *registries_);
  const bool online = stored.erase(kOnlineSet) > 0;
  if (student.augment.on() && !stored.empty())
    throw base::ConfigError("'student.augment' changes what a label would belong to, and the label set '" +
                            *stored.begin() + "' is stored: give the losses 'labels: [online]'");
  if (student.augment.on())
    for (const auto* side : {static_cast<const SideOptions*>(&student), static_cast<const SideOptions*>(&teacher)})
      for (const auto& name : models::columns_of(side->model.options.get()))
        if (name.starts_with("event.") && (side == &student || online))
          throw base::ConfigError("'student.augment' moves items and not what events have beside them: no '" + name +
                                  "' beside it");
  if (student.perturbation.on())
    for (const auto* kinds : student_losses(*this))
      for (const auto& [name, kind] : *kinds)
        if (registries_->losses.make(kind)->needs().scope == Scope::kBatch)
          throw base::ConfigError("'student.perturbation' is of a row alone, and loss '" + name +
                                  "' compares the rows of a step");
  check_balance(*this);
  const auto& screening = student.screening;
  if (screening.on() && stored.empty() && !online)
    throw base::ConfigError("'student.screening' needs a loss that works on labels");
  if (screening.on())
    for (const auto& set : label_sets(*this, *registries_)) check_screening(*this, set);
}

std::int64_t teacher_width(const JobOptions& job, const Registries& registries) {
  return registries.models.make(job.teacher.model, models::ModelContext{1, 0, -1})->table().dim();
}

}  // namespace decant::trainer
