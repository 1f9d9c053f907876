#include "launch/labels_command.h"

#include <filesystem>

#include "launch/job_file.h"
#include "launch/quiet.h"
#include "trainer/label_audit.h"

namespace decant::launch {

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
  Quiet quiet("labels", torch::kCPU, 1);
  trainer::Workspace workspace(job, registries, quiet.context());
  return line.files.front() == "status" ? trainer::label_status(workspace) : trainer::verify_labels(workspace);
}

}  // namespace decant::launch
