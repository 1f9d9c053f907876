// The run folder as one rank uses it: the lock, job.yaml, the log, the metrics and who serves them.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/files.h"
#include "dist/communicator.h"
#include "monitoring/exporter.h"
#include "monitoring/metrics.h"
#include "monitoring/progress.h"
#include "monitoring/pusher.h"
#include "monitoring/scalar_log.h"
#include "trainer/job.h"

namespace decant::launch {

class RunFolder {
 public:
  /// Collective. Rank 0 takes the lock and writes job.yaml and metrics/targets.json. Throws CommonError: the folder is
  /// in use, cannot be made, has no room; a file of credentials is refused.
  RunFolder(trainer::JobOptions& job, dist::Communicator& communicator);

  [[nodiscard]] monitoring::Metrics& metrics() { return *metrics_; }
  [[nodiscard]] monitoring::Progress& progress() { return progress_; }
  [[nodiscard]] monitoring::RankLog& log() { return *log_; }

 private:
  void serve_metrics(const monitoring::MonitoringOptions& options, dist::Communicator& communicator);
  void push_metrics(const monitoring::MonitoringOptions& options, int rank);
  void note(const std::string& text);

  std::filesystem::path folder_;
  monitoring::Progress progress_;
  std::optional<base::FolderLock> lock_;  // rank 0
  std::unique_ptr<monitoring::RankLog> log_;
  std::unique_ptr<monitoring::Metrics> metrics_;
  std::optional<monitoring::Credentials> readers_, pushers_;
  // Last, since they use the metrics until they are gone; the last push tells of what the others did.
  std::unique_ptr<monitoring::Exporter> exporter_;
  std::unique_ptr<monitoring::Pusher> pusher_;
  std::unique_ptr<monitoring::ScalarLog> scalars_;  // rank 0
};

}  // namespace decant::launch
