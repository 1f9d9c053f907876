// `decant sweep`: settings and seeds tried, chosen on valid, the control over the same settings, one table at the end.
#pragma once

#include "trainer/context.h"
#include "trainer/job.h"

namespace decant::trainer {

/// Trials are run folders below `<run.folder>/trials`; their stages lie in `<run.folder>/pool` under their keys, so that
/// trials share what their keys allow and a sweep that was cut continues. Writes `<run.folder>/sweep.json`
/// (docs/file_formats.md) after every trial, and prints the table. Collective. Throws GateError when no setting's
/// teacher passes, Stopped after a signal.
void run_sweep(JobOptions& job, const Registries& registries, Context& context);

/// Checks every setting as a job of its own; returns how many there are. Throws ConfigError naming the setting.
std::size_t check_sweep(JobOptions& job, const Registries& registries);

/// The table of a sweep.json.
[[nodiscard]] std::string format_sweep(const base::Json& sweep);

}  // namespace decant::trainer
