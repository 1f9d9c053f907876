// Training in stages: losses, learning rate and frozen parameters that change on the way (student.stages of the job).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "data/label_store.h"
#include "trainer/workspace.h"

namespace decant::trainer {

/// One stage of training. Without student.stages a side has one, without a name.
struct LossStage {
  std::string name;
  const std::map<std::string, base::KindOptions>* losses = nullptr;
  base::Json resolved_losses;  // those that apply, for the key
  TrainOptions train;
  double lr = 0;           // 0: the optimiser's
  bool from_last = false;  // begins with the last weights of the stage before, not the best
};

/// A teacher's one stage.
[[nodiscard]] LossStage only_stage(const std::map<std::string, base::KindOptions>& losses, const TrainOptions& train);

/// The student's stages, or the control's: the same bounds, schedules and frozen names with the losses that need no
/// labels. Where all of a stage's losses need labels, the control takes those of the next stage that has others, else
/// of the last one before.
[[nodiscard]] std::vector<LossStage> student_stages(const JobOptions& job, const Registries& registries,
                                                    const base::Json& resolved, bool with_teacher);

/// What trains one side.
struct SideTraining {
  std::string stage;  // "teacher", "student", "control"
  std::string key;    // of the stage
  const SideOptions& side;
  std::vector<LossStage> loss_stages;
  const data::LabelStore* labels;  // null: none
  std::uint64_t salt = 0;          // of the side's randomness
  bool with_teacher = false;       // the student
  data::Fold left_out = {};        // rows that it is not trained on
};

/// Trains through all stages, each from the weights of the one before and with a new optimiser; leaves the best weights
/// of the last one as the side's. Continues in the stage of the newest checkpoint. Returns the record of the stage.
/// Collective.
[[nodiscard]] base::Json train_in_stages(Workspace& space, const SideTraining& training);

}  // namespace decant::trainer
