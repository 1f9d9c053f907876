#include "trainer/folds.h"

#include <algorithm>

#include "trainer/labels/label_kind.h"
#include "trainer/teacher_chain.h"

namespace decant::trainer {
namespace {

constexpr char kFold[] = ".fold-", kOf[] = "-of-";

}  // namespace

std::string FoldName::text() const {
  return count == 0 ? teacher : teacher + kFold + std::to_string(index) + kOf + std::to_string(count);
}

FoldName FoldName::parse(const std::string& name) {
  const auto dot = name.find(kFold);
  if (dot == std::string::npos) return {name};
  const auto numbers = name.substr(dot + sizeof kFold - 1);
  const auto of = numbers.find(kOf);
  return {name.substr(0, dot), std::stoll(numbers.substr(0, of)), std::stoll(numbers.substr(of + sizeof kOf - 1))};
}

std::vector<std::string> teachers_of_set(const LabelSetOptions& set) {
  if (set.folds == 0) return {set.teacher};
  std::vector<std::string> names;
  for (std::int64_t fold = 0; fold < set.folds; ++fold) names.push_back(FoldName{set.teacher, fold, set.folds}.text());
  return names;
}

std::vector<std::string> fold_teachers(const JobOptions& job, const Registries& registries) {
  std::vector<std::string> names;
  for (const auto& set : made_sets(job, registries)) {
    const auto& options = *job.labels.find(set);
    if (options.folds == 0) continue;
    for (const auto& name : teachers_of_set(options))
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

void check_folds(const JobOptions& job, const Registries& registries) {
  for (const auto& [name, set] : job.labels.all()) {
    if (set->folds == 0) continue;
    const auto refuse = [&key = name](const std::string& why) {
      throw base::ConfigError("'" + LabelOptions::key_of(key) + ".folds' " + why);
    };
    if (!set->folder.empty()) refuse("is of a set that is made here, and this one is read from 'folder'");
    if (set->folds == 1) refuse("must be 0 or at least 2: with one fold its teacher would have no rows");
    if (!is_trained(*find_teacher(job, set->teacher)))
      refuse("needs a teacher that is trained here, and '" + set->teacher + "' is taken from a file");
    if (!sets_of_teacher(job, registries, set->teacher).empty())
      refuse("needs a teacher that learns from the data alone: '" + set->teacher +
             "' learns from labels of a teacher that has seen all rows");
    if (!set->make_kind()->taps().empty())
      refuse("cannot be of kind '" + set->kind + "': vectors of teachers trained apart lie in spaces of their own");
  }
}

std::size_t LabelTeachers::of(std::int64_t row) const {
  const auto count = static_cast<std::int64_t>(models.size());
  return count == 1 ? 0 : static_cast<std::size_t>(data::fold_of(seed, row, count));
}

}  // namespace decant::trainer
