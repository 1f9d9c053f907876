// What the stages of one run share: the job, the dataset once it is open, the models as they are built, the keys.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/label_store.h"
#include "models/input_columns.h"
#include "models/model.h"
#include "trainer/context.h"
#include "trainer/folds.h"
#include "trainer/job.h"
#include "trainer/next_item.h"
#include "trainer/stage.h"

namespace decant::trainer {

/// One of the teachers: its options, the stage that makes it, and its own salt.
struct TeacherSide {
  const TeacherOptions& options;
  std::string stage;  // "teacher", "teachers/<name>"
  const base::Json& resolved;
  std::uint64_t salt;
  data::Fold left_out = {};  // rows that it is trained without
};

struct LossStage;

class Workspace {
 public:
  Workspace(JobOptions& job, const Registries& registries, Context& context);

  JobOptions& job;
  const Registries& registries;
  Context& context;
  const base::Json resolved;  // the job with every option

  /// <run.folder>/<stage>.
  [[nodiscard]] fs::path folder(const std::string& stage) const { return fs::path(job.run.folder) / stage; }
  [[nodiscard]] fs::path dataset_folder() const;
  /// Opens it on first use.
  [[nodiscard]] const data::Dataset& dataset();
  /// Forgets the open dataset (after an import).
  void close_dataset() { dataset_.reset(); }
  /// What models are told of its columns.
  [[nodiscard]] const models::InputColumnMap& columns();

  /// A fresh model of a side on the communicator's device; `salt` tells teacher from student. `with_teacher`: its table
  /// may begin with the teacher's item vectors.
  [[nodiscard]] std::shared_ptr<models::SequenceModel> make_model(const SideOptions& side, std::uint64_t salt,
                                                                  bool with_teacher = false);
  /// The same with the weights a stage has left. Throws CheckpointError when they are absent or do not fit.
  [[nodiscard]] std::shared_ptr<models::SequenceModel> load_model(const SideOptions& side, const std::string& stage);
  [[nodiscard]] std::vector<NamedLoss> make_losses(const std::map<std::string, base::KindOptions>& kinds,
                                                   bool with_labels) const;

  /// Seed of a side: of the teacher run.teacher_seed where that is given, else run.seed.
  [[nodiscard]] std::uint64_t seed_of(std::uint64_t salt) const;
  /// How the student is trained; without a teacher: the control.
  [[nodiscard]] std::vector<LossStage> student_stages(bool with_teacher) const;
  /// Whether the student's table begins with the teacher's item vectors.
  [[nodiscard]] bool wants_teacher_table();
  /// Whether any of the student's losses works on stored labels.
  [[nodiscard]] bool needs_labels() const { return !used_sets().empty(); }

  /// Keys of the stages.
  [[nodiscard]] std::string teacher_key(const std::string& teacher = "teacher");
  [[nodiscard]] std::string student_key(bool with_teacher);
  /// Hash of a teacher's finished weights.
  [[nodiscard]] std::string teacher_hash(const std::string& teacher = "teacher");

  /// Teachers that the student has anything of: labels, stored or made in the step, or its table.
  [[nodiscard]] std::set<std::string> asked_teachers();
  [[nodiscard]] TeacherSide teacher_side(const std::string& teacher) const;

  /// Label sets. Those who label it, loaded; what it is, made by a model such as `teacher`; its key, and what of that
  /// does not depend on events.
  [[nodiscard]] LabelTeachers label_teachers(const std::string& set);
  [[nodiscard]] data::LabelSpec label_spec(const std::string& set, models::SequenceModel& teacher);
  [[nodiscard]] std::string labels_key(const std::string& set);
  [[nodiscard]] std::string label_recipe(const std::string& set);
  /// <run.folder>/labels/<set>, or the folder it was made in elsewhere.
  [[nodiscard]] fs::path set_folder(const std::string& set) const;
  /// Stored sets that the student's losses work on.
  [[nodiscard]] std::vector<std::string> used_sets() const;
  /// Opened together; null when there are none.
  [[nodiscard]] std::unique_ptr<data::LabelStore> open_labels(const std::vector<std::string>& sets,
                                                              std::int64_t max_length);

 private:
  [[nodiscard]] base::Json common_parts();
  [[nodiscard]] models::ModelContext context_of(const SideOptions& side, std::uint64_t salt);
  /// Made at the start, by all ranks together: models are also made by one alone.
  void make_exchanges();
  std::map<int, std::shared_ptr<models::Exchange>> exchanges_;  // by ranks that hold a table together
  std::unique_ptr<data::Dataset> dataset_;
  models::InputColumnMap columns_;
};

/// Salts of the two sides' randomness; the control shares the student's, so that only the teacher differs.
inline constexpr std::uint64_t kTeacherSalt = 0x7465616368, kStudentSalt = 0x73747564;

/// "<folder>/weights.safetensors".
[[nodiscard]] fs::path weights_path(const fs::path& stage_folder);

/// Evaluates everything that the run folder holds and builds the report (docs/report.md). Collective.
[[nodiscard]] base::Json build_report(Workspace& workspace);

}  // namespace decant::trainer
