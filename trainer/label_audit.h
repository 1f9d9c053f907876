// What is there of the label sets of a job, and whether it is right. Nothing is written.
#pragma once

#include "trainer/workspace.h"

namespace decant::trainer {

/// A map a set: kind, teacher, rows that are labelled, stale (teacher, options, window or the row's events differ) and
/// missing, bytes; "why" where all are stale for one reason.
[[nodiscard]] base::Json label_status(Workspace& workspace);

/// Reads every byte of a set: sums, shapes, ids in the catalogue, distinct and by descending logit, numbers, coverage.
/// Throws DataError naming the part and the row of what is wrong.
[[nodiscard]] base::Json verify_label_set(const fs::path& folder);

/// The same of every set of a job that is there, that it fits the job's data and students, and on a probe of rows how far
/// its logits are from its teacher's and how much probability it leaves out.
[[nodiscard]] base::Json verify_labels(Workspace& workspace);

}  // namespace decant::trainer
