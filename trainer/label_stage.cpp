// The label sets of a run: where they lie, what decides them, which of them the student reads.
#include "base/files.h"
#include "base/hash.h"
#include "base/random.h"
#include "trainer/errors.h"
#include "trainer/labeller.h"
#include "trainer/online_teacher.h"
#include "trainer/teacher_chain.h"
#include "trainer/workspace.h"

namespace decant::trainer {
namespace {

/// Raised when a change of the code changes labels, so that old ones are not taken for new ones.
constexpr int kLabelVersion = 2;

const base::Json& resolved_set(const base::Json& job, const std::string& set) {
  return set == kDefaultSet ? job.at("labels") : job.at("labels").at("sets").at(set);
}

/// The options that decide what a row's labels are: not where or how they lie.
base::Json deciding(base::Json set) {
  for (const char* key : {"sets", "compress", "folder", "teacher", "limit_mib", "folds"}) set.erase(key);
  // Ids of another set: what is in it counts, not where it lies.
  if (set.contains("ids_from") && !set.at("ids_from").get<std::string>().empty())
    set["ids_from"] =
        base::hash_hex(base::read_file(fs::path(set.at("ids_from").get<std::string>()) / "manifest.json"));
  return set;
}

/// What the kind itself was told, to read the set back with.
base::Json own_options(base::Json set) {
  for (const char* key : {"sets", "compress", "folder", "kind", "dtype", "teacher", "folds"}) set.erase(key);
  return set;
}

/// Hashes of the weights of those who label a set.
std::vector<std::string> hashes_of(Workspace& space, const LabelSetOptions& options) {
  std::vector<std::string> hashes;
  for (const auto& name : teachers_of_set(options)) hashes.push_back(space.teacher_hash(name));
  return hashes;
}

}  // namespace

TeacherSide Workspace::teacher_side(const std::string& name) const {
  if (name == "teacher") return {job.teacher, "teacher", resolved.at("teacher"), kTeacherSalt};
  const auto fold = FoldName::parse(name);
  const auto* options = find_teacher(job, name);
  if (options == nullptr) throw base::ConfigError("there is no teacher '" + name + "' in 'teachers'");
  base::Hasher hasher;
  hasher.add(std::string_view(name));
  const auto& tree = fold.teacher == "teacher" ? resolved.at("teacher") : resolved.at("teachers").at(fold.teacher);
  return {*options,
          "teachers/" + name,
          tree,
          base::key_of(kTeacherSalt, hasher.value()),
          {seed_of(kTeacherSalt), fold.index, fold.count}};
}

fs::path Workspace::set_folder(const std::string& set) const {
  const auto* options = job.labels.find(set);
  if (options == nullptr) throw base::ConfigError("there is no label set '" + set + "' in 'labels.sets'");
  return options->folder.empty() ? folder("labels") / set : fs::path(options->folder);
}

std::vector<std::string> Workspace::used_sets() const {
  auto used = label_sets(job, registries);
  used.erase(kOnlineSet);
  return {used.begin(), used.end()};
}

std::vector<std::string> made_sets(const JobOptions& job, const Registries& registries) {
  auto used = label_sets(job, registries);
  for (const auto& teacher : teachers_in_order(job, registries)) used.merge(sets_of_teacher(job, registries, teacher));
  std::vector<std::string> made;
  for (const auto& [name, set] : job.labels.all()) {
    const bool wanted = name != kDefaultSet || used.contains(name) || job.labels.sets.empty();
    if (wanted && set->folder.empty()) made.push_back(name);
  }
  return made;
}

std::set<std::string> Workspace::asked_teachers() {
  std::set<std::string> asked;
  for (const auto& set : used_sets())
    if (const auto* options = job.labels.find(set); options->folder.empty()) asked.insert(options->teacher);
  if (label_sets(job, registries).contains(kOnlineSet) || wants_teacher_table()) asked.insert("teacher");
  return asked;
}

std::unique_ptr<data::LabelStore> Workspace::open_labels(const std::vector<std::string>& sets,
                                                         std::int64_t max_length) {
  std::map<std::string, fs::path> folders;
  for (const auto& set : sets) folders[set] = set_folder(set);
  if (folders.empty()) return nullptr;
  return std::make_unique<data::LabelStore>(folders, dataset(), max_length,
                                            static_cast<std::size_t>(job.data.cache_mib) << 20);
}

data::LabelSpec Workspace::label_spec(const std::string& set, models::SequenceModel& teacher) {
  const auto& options = *job.labels.find(set);
  const auto kind = options.make_kind();
  const auto& info = dataset().info();
  const auto& tree = resolved_set(resolved, set);
  data::LabelSpec spec;
  spec.kind = options.kind;
  spec.teacher = options.teacher;
  const auto hashes = hashes_of(*this, options);
  spec.teacher_hash = hashes.size() == 1 ? hashes.front() : stage_key(hashes);
  if (options.folds > 0) spec.fold_hashes = hashes, spec.fold_seed = seed_of(kTeacherSalt);
  spec.catalogue_hash = info.catalogue_hash;
  spec.content_hash = info.content_hash;
  spec.max_length = teacher.max_length();
  spec.items = info.items;
  spec.rows = info.rows;
  spec.compression = options.compress;
  spec.options = own_options(tree);
  spec.columns = kind->columns(label_shape(teacher, *kind, dataset(), options.values()));
  spec.recipe = label_recipe(set);
  spec.key = labels_key(set);
  return spec;
}

LabelTeachers Workspace::label_teachers(const std::string& set) {
  LabelTeachers teachers{{}, seed_of(kTeacherSalt)};
  for (const auto& name : teachers_of_set(*job.labels.find(set))) {
    const auto side = teacher_side(name);
    teachers.models.push_back(load_model(side.options, side.stage));
  }
  return teachers;
}

std::string Workspace::label_recipe(const std::string& set) {
  const auto& options = *job.labels.find(set);
  const auto hashes = hashes_of(*this, options);  // first: without teachers nothing else is looked for
  base::Json parts{{"label_version", kLabelVersion},
                   {"catalogue", dataset().info().catalogue_hash},
                   {"labels", deciding(resolved_set(resolved, set))}};
  if (options.folds == 0)
    parts["teacher"] = hashes.front();
  else
    parts["folds"] = {{"teachers", hashes}, {"seed", seed_of(kTeacherSalt)}};
  return stage_key(parts);
}

std::string Workspace::labels_key(const std::string& set) {
  const auto& options = *job.labels.find(set);
  if (!options.folder.empty()) return base::hash_hex(base::read_file(fs::path(options.folder) / "manifest.json"));
  return stage_key(
      {{"recipe", label_recipe(set)}, {"events", dataset().info().content_hash}, {"compress", options.compress}});
}

}  // namespace decant::trainer
