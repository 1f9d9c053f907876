#include "trainer/label_checks.h"

#include <filesystem>

#include "data/label_store.h"
#include "trainer/labels/label_kind.h"

namespace decant::trainer {
namespace {

using base::ConfigError;

std::int64_t window_of(const SideOptions& side, const Registries& registries) {
  return registries.models.make(side.model, models::ModelContext{1, 0})->max_length();
}

/// What is wanted of one set, named in every message.
struct Want {
  const JobOptions& job;
  const Registries& registries;
  const NamedLoss& named;
  std::string set;
  const LabelSetOptions& options;

  [[noreturn]] void refuse(const std::string& why) const { throw ConfigError("loss '" + named.name + "' " + why); }
  [[nodiscard]] std::string option(const char* name) const {
    return "'" + LabelOptions::key_of(set) + "." + name + "'";
  }
};

void check_window(const Want& want) {
  const std::int64_t student = window_of(want.job.student, want.registries);
  const auto refuse = [&](const std::string& whose, std::int64_t length) {
    if (length != student)
      want.refuse("needs labels, and those hold for windows of the teacher's length: 'student.model.max_length' is " +
                  std::to_string(student) + ", " + whose + " " + std::to_string(length));
  };
  if (!want.options.folder.empty())
    return refuse("that of the set in " + want.option("folder"), data::read_label_spec(want.options.folder).max_length);
  if (want.options.teacher == "teacher") return refuse("the teacher's", window_of(want.job.teacher, want.registries));
  refuse("that of teacher '" + want.options.teacher + "'",
         window_of(*want.job.teachers.find(want.options.teacher), want.registries));
}

void check_set(const Want& want) {
  const auto needs = want.named.loss->needs();
  const auto kind = want.options.make_kind();
  const std::string name =
      want.options.folder.empty() ? want.options.kind : data::read_label_spec(want.options.folder).kind;
  if (!needs.label_kinds.contains(name))
    want.refuse("works on labels of kind " + base::join({needs.label_kinds.begin(), needs.label_kinds.end()}, " or ") +
                ", and " + want.option("kind") + " is " + name);
  if (needs.label_logits && kind->ids() < needs.least_k)
    want.refuse("needs " + want.option("k") + " of at least " + std::to_string(needs.least_k));
  for (const double t : needs.label_rest_lse)
    if (!kind->has_rest(t))
      want.refuse("works at temperature " + base::Json(t).dump() + ", which is not among " +
                  want.option("temperatures"));
  if (needs.label_moments && !kind->has_moments())
    want.refuse("needs the mean and variance of logits, which labels of kind " + name + " do not have");
}

}  // namespace

void check_label_sets(const JobOptions& job) {
  for (const auto& [name, set] : job.labels.all()) {
    const std::string key = LabelOptions::key_of(name);
    if (set->teacher != "teacher" && job.teachers.find(set->teacher) == nullptr)
      throw ConfigError("'" + key + ".teacher' is '" + set->teacher +
                        "', which is neither 'teacher' nor in 'teachers'");
    if (set->folder.empty()) continue;
    if (!std::filesystem::exists(std::filesystem::path(set->folder) / "manifest.json"))
      throw ConfigError("'" + key + ".folder' is " + set->folder + ", where there is no whole label set");
    static_cast<void>(set->make_kind());  // its manifest can be read and names a known kind
  }
  if (job.labels.sets.find(kDefaultSet) != nullptr)
    throw ConfigError("'labels.sets.teacher': the set 'teacher' is described by 'labels' itself");
}

void check_labels_of(const JobOptions& job, const Registries& registries, const NamedLoss& named) {
  for (const auto& set : named.sets) {
    const auto* options = job.labels.find(set);
    if (options == nullptr) {
      std::vector<std::string> known;
      for (const auto& [name, ignored] : job.labels.all()) known.push_back(name);
      throw ConfigError("loss '" + named.name + "' names the label set '" + set + "', which is not in 'labels.sets' (" +
                        base::join(known) + ")");
    }
    const Want want{job, registries, named, set, *options};
    check_window(want);
    check_set(want);
  }
}

}  // namespace decant::trainer
