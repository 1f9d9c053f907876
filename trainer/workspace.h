// What the stages of one run share: the job, the dataset once it is open, the models as they are built, the keys.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/label_store.h"
#include "models/model.h"
#include "trainer/context.h"
#include "trainer/job.h"
#include "trainer/next_item.h"
#include "trainer/stage.h"

namespace decant::trainer {

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
  /// Whether the student has anything of a teacher: labels, stored or made in the step, or its table.
  [[nodiscard]] bool needs_teacher();

  /// Whether any of the student's losses works on stored labels.
  [[nodiscard]] bool needs_labels() const;

  /// Keys of the stages.
  [[nodiscard]] std::string teacher_key();
  [[nodiscard]] std::string labels_key();
  [[nodiscard]] std::string student_key(bool with_teacher);
  [[nodiscard]] data::LabelSpec label_spec();
  /// Hash of the teacher's finished weights.
  [[nodiscard]] std::string teacher_hash();

 private:
  [[nodiscard]] base::Json common_parts();
  [[nodiscard]] models::ModelContext context_of(const SideOptions& side, std::uint64_t salt);
  std::unique_ptr<data::Dataset> dataset_;
};

/// Salts of the two sides' randomness; the control shares the student's, so that only the teacher differs.
inline constexpr std::uint64_t kTeacherSalt = 0x7465616368, kStudentSalt = 0x73747564;

/// "<folder>/weights.safetensors".
[[nodiscard]] fs::path weights_path(const fs::path& stage_folder);

/// Evaluates everything that the run folder holds and builds the report (docs/report.md). Collective.
[[nodiscard]] base::Json build_report(Workspace& workspace);

}  // namespace decant::trainer
