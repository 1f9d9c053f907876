#include "launch/labels_command.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "launch/job_file.h"
#include "trainer/label_audit.h"

namespace decant::launch {

namespace {

/// This process alone, saying nothing: the commands only read.
struct Quiet {
  Quiet()
      : communicator(dist::make_single_communicator(torch::kCPU)),
        metrics("labels", 0),
        progress(stderr, false),
        log(folder, 0),
        context{*communicator, metrics, progress, log, faults, stop, 1} {}
  ~Quiet() {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
  }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  /// For a log that nobody reads: the run folder is left as it is.
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("decant-labels-" + std::to_string(::getpid()));
  std::unique_ptr<dist::Communicator> communicator;
  monitoring::Metrics metrics;
  monitoring::Progress progress;
  monitoring::RankLog log;
  trainer::FaultPlan faults;
  std::atomic<bool> stop{false};
  trainer::Context context;
};

}  // namespace

base::Json labels_command(const CommandLine& line, const trainer::Registries& registries) {
  const std::filesystem::path path = line.files.at(1);
  if (std::filesystem::is_directory(path)) {
    if (line.files.front() == "status")
      throw base::ConfigError("labels status: takes a job file, and " + path.string() + " is a folder");
    return trainer::verify_label_set(path);
  }
  trainer::JobOptions job(registries);
  JobFile file = JobFile::load(path.string());
  for (const std::string& assignment : line.sets) file.set(assignment);
  file.read_into(job, [&] { job.check(); });
  Quiet quiet;
  trainer::Workspace workspace(job, registries, quiet.context);
  return line.files.front() == "status" ? trainer::label_status(workspace) : trainer::verify_labels(workspace);
}

}  // namespace decant::launch
