// The teacher gate: before hours go into labels, the teacher must rank better on valid than what is far simpler.
#pragma once

#include <string>

#include "trainer/workspace.h"

namespace decant::trainer {

/// Valid's `student.train.select`, all items ranked, of `teacher` (the one that is named), `popularity`,
/// `transitions`, and `control` when the run folder holds the finished one of this job. Kept as stages/gate.json (of
/// another teacher: stages/gates/<name>.json), so that it is measured once. Collective.
[[nodiscard]] base::Json measure_gate(Workspace& space, const std::string& teacher = "teacher");

/// Why `values` of measure_gate shut the gate: everything that the teacher is below. "" when it is open; equal is open.
[[nodiscard]] std::string gate_verdict(const base::Json& values, const std::string& teacher = "teacher");

/// Measures, and throws GateError on all ranks when the gate is shut; with that teacher's `gate: warn` it only says so.
void pass_teacher_gate(Workspace& space, const std::string& teacher);

}  // namespace decant::trainer
