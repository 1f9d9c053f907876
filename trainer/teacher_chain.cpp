#include "trainer/teacher_chain.h"

#include <algorithm>

#include "models/ready_model.h"
#include "trainer/folds.h"
#include "trainer/label_checks.h"
#include "trainer/online_teacher.h"
#include "trainer/task.h"

namespace decant::trainer {
namespace {

using base::ConfigError;

std::vector<std::string> names_of(const JobOptions& job) {
  std::vector<std::string> names{"teacher"};
  for (const auto& [name, options] : job.teachers) names.push_back(name);
  return names;
}

std::string key_of(const std::string& teacher) { return teacher == "teacher" ? teacher : "teachers." + teacher; }

std::string stage_of(const std::string& teacher) { return teacher == "teacher" ? teacher : "teachers/" + teacher; }

/// Puts a teacher behind those it learns from; `path` is who asked for whom.
struct Ordering {
  const JobOptions& job;
  const Registries& registries;
  std::vector<std::string> done{}, path{};

  void put(const std::string& name) {
    if (std::find(done.begin(), done.end(), name) != done.end()) return;
    const auto before = std::find(path.begin(), path.end(), name);
    if (before != path.end()) {
      std::vector<std::string> cycle(before, path.end());
      cycle.push_back(name);
      throw ConfigError("teachers learn from each other in a circle: " + base::join(cycle, " from ") + "; see '" +
                        key_of(name) + ".losses'");
    }
    path.push_back(name);
    for (const auto& set : sets_of_teacher(job, registries, name))
      if (const auto* options = job.labels.find(set); options != nullptr && options->folder.empty())
        put(options->teacher);
    path.pop_back();
    done.push_back(name);
  }
};

}  // namespace

const TeacherOptions* find_teacher(const JobOptions& job, const std::string& name) {
  const auto base = FoldName::parse(name).teacher;
  return base == "teacher" ? &job.teacher : job.teachers.find(base);
}

bool is_trained(const TeacherOptions& side) {
  return side.weights.empty() && !models::is_ready_model(side.model.options.get());
}

std::set<std::string> sets_of_teacher(const JobOptions& job, const Registries& registries, const std::string& teacher) {
  const auto& options = *find_teacher(job, teacher);
  return is_trained(options) ? label_sets(options.losses, registries) : std::set<std::string>();
}

std::vector<std::string> teachers_in_order(const JobOptions& job, const Registries& registries) {
  Ordering ordering{job, registries};
  for (const auto& name : names_of(job)) ordering.put(name);
  return ordering.done;
}

std::vector<std::string> stages_in_order(const JobOptions& job, const Registries& registries) {
  std::vector<std::string> stages{"dataset"}, later;
  for (const auto& name : teachers_in_order(job, registries))
    (sets_of_teacher(job, registries, name).empty() ? stages : later).push_back(name);
  std::transform(stages.begin() + 1, stages.end(), stages.begin() + 1, stage_of);
  stages.emplace_back("control");
  const auto made = made_sets(job, registries);
  const auto add = [&](const std::string& stage) {
    if (std::find(stages.begin(), stages.end(), stage) == stages.end()) stages.push_back(stage);
  };
  const auto add_set = [&](const std::string& set) {
    for (const auto& teacher : teachers_of_set(*job.labels.find(set))) add(stage_of(teacher));
    add("labels/" + set);
  };
  for (const auto& name : later) {
    for (const auto& set : sets_of_teacher(job, registries, name))
      if (std::find(made.begin(), made.end(), set) != made.end()) add_set(set);
    add(stage_of(name));
  }
  for (const auto& set : made) add_set(set);
  stages.emplace_back("student");
  return stages;
}

void check_teachers(const JobOptions& job, const Registries& registries) {
  for (const auto& name : names_of(job)) {
    const auto& side = *find_teacher(job, name);
    const bool ready = models::is_ready_model(side.model.options.get());
    if (ready && !side.weights.empty())
      throw ConfigError("'" + key_of(name) + ".weights': a model of type '" + side.model.type +
                        "' has its weights in 'model.file'");
    if (!is_trained(side)) continue;
    if (side.losses.empty()) throw ConfigError("'" + key_of(name) + ".losses' is empty");
    for (const auto& [loss, kind] : side.losses) {
      auto named = name_loss(loss, *kind.options, registries.losses.make(kind));
      named.name = key_of(name) + ".losses." + loss;
      if (std::find(named.sets.begin(), named.sets.end(), kOnlineSet) != named.sets.end())
        throw ConfigError("'" + named.name +
                          ".labels': the set 'online' is the student's; a teacher learns from stored sets");
      check_loss_of(job, registries, named, side, key_of(name));
    }
  }
  static_cast<void>(teachers_in_order(job, registries));
}

}  // namespace decant::trainer
