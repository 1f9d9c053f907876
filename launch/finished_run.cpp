#include "launch/finished_run.h"

#include <filesystem>

#include "launch/environment.h"
#include "launch/job_file.h"
#include "launch/launcher.h"

namespace decant::launch {

namespace {

namespace fs = std::filesystem;

trainer::JobOptions read_job(const CommandLine& line, const std::string& path, const trainer::Registries& registries) {
  if (const auto launcher = detect_launcher(process_environment()); launcher.tasks > 1)
    throw base::ConfigError(line.command + ": one process does it, and " + launcher.name + " started " +
                            std::to_string(launcher.tasks) + ": start it alone");
  const bool folder = fs::is_directory(path);
  const auto file_path = folder ? (fs::path(path) / "job.yaml").string() : path;
  if (folder && !fs::exists(file_path))
    throw base::ConfigError(path + ": is no run folder (it has no job.yaml) and no job file");
  trainer::JobOptions job(registries);
  JobFile file = JobFile::load(file_path);
  if (folder) file.set("run.folder=" + path);  // it may have been moved
  for (const std::string& assignment : line.sets) file.set(assignment);
  file.read_into(job, [&] { job.check(); });
  return job;
}

/// The threads that the job asks for; LibTorch works on them from now on.
int settle_threads(const trainer::JobOptions& job) {
  const int threads = choose_threads(job.run.threads, {host_name() + " " + allowed_cores()}, 0);
  use_threads(threads);
  return threads;
}

}  // namespace

FinishedRun::FinishedRun(const CommandLine& line, const std::string& path, const trainer::Registries& registries,
                         const std::string& device)
    : job_(read_job(line, path, registries)),
      quiet_(line.command, choose_device(device.empty() ? job_.run.device : device, 0, 1), settle_threads(job_)),
      space_(job_, registries, quiet_.context()) {}

}  // namespace decant::launch
