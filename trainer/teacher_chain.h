// Teachers that learn from teachers (teacher assistants: Mirzadeh et al. 2020): who comes after whom.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "trainer/job.h"

namespace decant::trainer {

/// Of "teacher", or one of `teachers`, whole or without a fold (folds.h); null when there is none of that name.
[[nodiscard]] const TeacherOptions* find_teacher(const JobOptions& job, const std::string& name);

/// Not taken from a file.
[[nodiscard]] bool is_trained(const TeacherOptions& side);

/// Label sets that losses work on, "online" among them.
[[nodiscard]] std::set<std::string> label_sets(const std::map<std::string, base::KindOptions>& losses,
                                               const Registries& registries);

/// Label sets that a teacher's losses work on; none for one that is taken from a file.
[[nodiscard]] std::set<std::string> sets_of_teacher(const JobOptions& job, const Registries& registries,
                                                    const std::string& teacher);

/// All teachers, each after those whose labels it learns from; otherwise "teacher" first and the job's order. Throws
/// ConfigError that names the teachers of a cycle.
[[nodiscard]] std::vector<std::string> teachers_in_order(const JobOptions& job, const Registries& registries);

/// Stages of a run in their order: "dataset", "teacher", "teachers/<name>", "control", "labels/<set>", "student". The
/// control comes after the teachers that learn from none; teachers without a fold before the set that they label.
[[nodiscard]] std::vector<std::string> stages_in_order(const JobOptions& job, const Registries& registries);

/// Throws ConfigError when a teacher's losses ask for what a teacher has not.
void check_teachers(const JobOptions& job, const Registries& registries);

}  // namespace decant::trainer
