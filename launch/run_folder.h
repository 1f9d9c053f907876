// The run folder as one rank uses it: the lock, job.yaml, the log, the metrics and who serves them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/files.h"
#include "dist/communicator.h"
#include "monitoring/metrics.h"
#include "monitoring/progress.h"
#include "trainer/job.h"

namespace decant::launch {

class RunFolder {
 public:
  /// Collective. Rank 0 takes the lock and writes job.yaml and metrics/targets.json. Throws CommonError: the folder is
  /// in use, cannot be made, has no room.
  RunFolder(trainer::JobOptions& job, dist::Communicator& communicator);

  [[nodiscard]] monitoring::Metrics& metrics() { return *metrics_; }
  [[nodiscard]] monitoring::Progress& progress() { return progress_; }
  [[nodiscard]] monitoring::RankLog& log() { return *log_; }

 private:
  void serve_metrics(const trainer::JobOptions& job, dist::Communicator& communicator);

  std::filesystem::path folder_;
  monitoring::Progress progress_;
  std::optional<base::FolderLock> lock_;  // rank 0
  std::unique_ptr<monitoring::RankLog> log_;
  std::unique_ptr<monitoring::Metrics> metrics_;
  std::unique_ptr<monitoring::Exporter> exporter_;  // last: it reads the metrics until it is gone
};

}  // namespace decant::launch
