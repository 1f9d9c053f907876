// What can be told at the start about labels: sets that are named, kinds that losses work on, windows, temperatures.
#pragma once

#include <string>

#include "trainer/job.h"
#include "trainer/task.h"

namespace decant::trainer {

/// Throws ConfigError for a set whose name, teacher or folder cannot be.
void check_label_sets(const JobOptions& job);

/// Throws ConfigError when the side that a loss trains, or a label set that the loss names, cannot serve it. `key`: of the
/// side in the job file.
void check_loss_of(const JobOptions& job, const Registries& registries, const NamedLoss& named, const SideOptions& side,
                   const std::string& key);

/// Throws ConfigError when a set's kind needs whole rows of logits, and its teacher's table is sharded over ranks.
void check_sharded_teachers(const JobOptions& job, const Registries& registries);

/// Throws ConfigError when the labels of a set, or of "online", cannot be screened as `student.screening` asks.
void check_screening(const JobOptions& job, const std::string& set);

}  // namespace decant::trainer
