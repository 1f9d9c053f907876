// What can be told at the start about labels: sets that are named, kinds that losses work on, windows, temperatures.
#pragma once

#include "trainer/job.h"
#include "trainer/task.h"

namespace decant::trainer {

/// Throws ConfigError for a set whose teacher or folder is not there.
void check_label_sets(const JobOptions& job);

/// Throws ConfigError when a label set that the loss names cannot serve it.
void check_labels_of(const JobOptions& job, const Registries& registries, const NamedLoss& named);

}  // namespace decant::trainer
