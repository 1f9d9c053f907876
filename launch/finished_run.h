// A run whose models are asked or taken away: its job, dataset and models, by one process that leaves the run as it is.
#pragma once

#include <string>

#include "launch/command_line.h"
#include "launch/quiet.h"
#include "trainer/job.h"
#include "trainer/workspace.h"

namespace decant::launch {

class FinishedRun {
 public:
  /// `path`: a job file, or a run folder, of which job.yaml is read. line.sets are applied. `device`: as run.device;
  /// empty: the job's. Throws ConfigError where several processes were started, and for a folder that is no run's.
  FinishedRun(const CommandLine& line, const std::string& path, const trainer::Registries& registries,
              const std::string& device = "");
  [[nodiscard]] trainer::Workspace& space() { return space_; }

 private:
  trainer::JobOptions job_;
  Quiet quiet_;
  trainer::Workspace space_;
};

}  // namespace decant::launch
