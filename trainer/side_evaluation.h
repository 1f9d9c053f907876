// What an evaluation measures of one side on both splits, and the file of its ranks.
#pragma once

#include <string>

#include "trainer/baselines.h"
#include "trainer/segments.h"
#include "trainer/workspace.h"

namespace decant::trainer {

struct SideEvaluation {
  Evaluation valid, test;
  SideRecords records;  // ranks alone; fidelity is measured apart
};

/// Collective. Ranks all targets of both splits, and on the leading rank writes `<run>/<side>/ranks.h5`.
[[nodiscard]] SideEvaluation evaluate_side(models::SequenceModel& model, const std::string& side, Workspace& space);
[[nodiscard]] SideEvaluation evaluate_side(Baseline baseline, const std::string& side, Workspace& space);

/// "<run>/<side>/ranks.h5".
[[nodiscard]] fs::path ranks_path(const fs::path& run_folder, const std::string& side);

}  // namespace decant::trainer
