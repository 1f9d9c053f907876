#include "launch/run_folder.h"

#include <cstdio>
#include <string_view>
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

std::optional<monitoring::Credentials> credentials_of(const std::string& path, std::string_view key) {
  if (path.empty()) return {};
  return monitoring::read_credentials(path, key);
}

/// A file of ours under its temporary name: ".weights.safetensors.tmp-4711-0".
bool is_leftover(const std::string& name) {
  const std::size_t end = name.find(".tmp-");
  if (!name.starts_with('.') || end == std::string::npos) return false;
  const std::string extension = std::filesystem::path(name.substr(0, end)).extension();
  return extension == ".json" || extension == ".yaml" || extension == ".h5" || extension == ".safetensors" ||
         extension == ".html";
}

/// What another process works in: a run folder with a lock of its own, an export that is being written.
bool is_anothers(const std::filesystem::path& folder, std::error_code& error) {
  return std::filesystem::exists(folder / "lock", error) ||
         folder.filename().string().find(".partial-") != std::string::npos;
}

/// Removes what killed processes have left.
/// REQUIRES: the folder's lock.
void remove_leftovers(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  constexpr int kDepth = 4;  // teachers/<name>/checkpoints/step-<n>/
  std::vector<fs::path> found;
  std::error_code error;  // what cannot be read or removed does no harm
  for (fs::recursive_directory_iterator at(folder, fs::directory_options::skip_permission_denied, error), end;
       !error && at != end; at.increment(error)) {
    if (is_leftover(at->path().filename().string())) found.push_back(at->path());
    if (at.depth() >= kDepth || is_anothers(at->path(), error)) at.disable_recursion_pending();
  }
  for (const auto& path : found) fs::remove(path, error);
}

}  // namespace

RunFolder::RunFolder(trainer::JobOptions& job, dist::Communicator& communicator)
    : folder_(job.run.folder), progress_(stderr, communicator.rank() == 0) {
  const auto& options = job.monitoring;
  agree(communicator, [&] {
    if (options.enabled) readers_ = credentials_of(options.auth_file, "monitoring.auth_file");
    if (!options.pushgateway.empty()) pushers_ = credentials_of(options.push_auth_file, "monitoring.push_auth_file");
  });
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
  serve_metrics(options, communicator);
  if (!options.pushgateway.empty()) push_metrics(options, communicator.rank());
  if (options.tensorboard && communicator.rank() == 0)
    scalars_ = std::make_unique<monitoring::ScalarLog>(*metrics_, folder_ / "tensorboard",
                                                       [this](const std::string& text) { note(text); });
}

void RunFolder::note(const std::string& text) {
  log_->line(text);
  progress_.say("decant: " + text);
}

void RunFolder::push_metrics(const monitoring::MonitoringOptions& options, int rank) {
  const std::string instance =
      monitoring::reachable_host() + ":" + std::filesystem::absolute(folder_).lexically_normal().string();
  pusher_ = std::make_unique<monitoring::Pusher>(
      *metrics_, options, monitoring::PushGroup{options.push_job, instance, run_name(folder_), rank}, pushers_,
      [this](const std::string& text) { note(text); });
}

void RunFolder::serve_metrics(const monitoring::MonitoringOptions& options, dist::Communicator& communicator) {
  if (options.enabled)
    exporter_ = std::make_unique<monitoring::Exporter>(*metrics_, options, communicator.rank(), readers_);
  const std::string address = exporter_ ? exporter_->address() : "";
  if (exporter_ && !exporter_->note().empty()) {
    note(exporter_->note());
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
