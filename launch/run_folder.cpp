#include "launch/run_folder.h"

#include <cstdio>
#include <vector>

#include "launch/failure.h"
#include "launch/job_text.h"

namespace decant::launch {

namespace {

/// "quickstart" of "runs/quickstart/": what metrics call the run.
std::string run_name(const std::filesystem::path& folder) {
  const auto path = std::filesystem::absolute(folder).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

/// Removes files that killed processes have left under temporary names. REQUIRES: the folder's lock.
void remove_leftovers(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {  // which follows no links
    const std::string name = entry.path().filename().string();
    if (name.starts_with('.') && name.find(".tmp-") != std::string::npos && entry.is_regular_file())
      found.push_back(entry.path());
  }
  for (const auto& path : found) fs::remove(path);
}

}  // namespace

RunFolder::RunFolder(trainer::JobOptions& job, dist::Communicator& communicator)
    : folder_(job.run.folder), progress_(stderr, communicator.rank() == 0) {
  agree(communicator, [&] {
    if (communicator.rank() != 0) return;
    lock_.emplace(folder_);
    remove_leftovers(folder_);
    base::write_file(folder_ / "job.yaml",
                     "# The job as decant understood it. Written at every start.\n" + job_text(job, Comments::kNone));
  });
  // After the lock: a second job must not write into the first one's logs.
  agree(communicator, [&] { log_ = std::make_unique<monitoring::RankLog>(folder_ / "log", communicator.rank()); });
  metrics_ = std::make_unique<monitoring::Metrics>(run_name(folder_), communicator.rank());
  serve_metrics(job, communicator);
}

void RunFolder::serve_metrics(const trainer::JobOptions& job, dist::Communicator& communicator) {
  if (job.monitoring.enabled)
    exporter_ = std::make_unique<monitoring::Exporter>(*metrics_, job.monitoring, communicator.rank());
  const std::string address = exporter_ ? exporter_->address() : "";
  if (exporter_ && !exporter_->note().empty()) {
    log_->line(exporter_->note());
    progress_.say("decant: " + exporter_->note());
  } else if (!address.empty()) {
    log_->line("metrics are served at " + address);
  }
  const std::vector<std::string> addresses = communicator.gather_bytes(address);
  agree(communicator, [&] {
    if (communicator.rank() != 0) return;
    base::write_file(folder_ / "metrics" / "targets.json",
                     monitoring::discovery_targets(run_name(folder_), addresses).dump(1) + "\n");
  });
}

}  // namespace decant::launch
