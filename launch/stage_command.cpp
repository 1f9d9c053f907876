#include "launch/stage_command.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <memory>
#include <utility>

#include "dist/errors.h"
#include "launch/environment.h"
#include "launch/failure.h"
#include "launch/job_file.h"
#include "launch/job_text.h"
#include "launch/launcher.h"
#include "launch/plain_text.h"
#include "launch/run_folder.h"
#include "launch/same_start.h"
#include "launch/session.h"
#include "launch/setting.h"
#include "launch/signals.h"
#include "launch/version.h"
#include "trainer/context.h"
#include "trainer/fault.h"
#include "trainer/pipeline.h"
#include "trainer/sweep.h"

namespace decant::launch {

namespace {

using trainer::Pipeline;

constexpr std::array<std::pair<std::string_view, void (Pipeline::*)()>, 7> kStages{{
    {"run", &Pipeline::run},
    {"import", &Pipeline::import},
    {"train-teacher", &Pipeline::train_teacher},
    {"train-control", &Pipeline::train_control},
    {"label", &Pipeline::label},
    {"distill", &Pipeline::distill},
    {"evaluate", &Pipeline::evaluate},
}};

constexpr std::string_view kSweep = "sweep";  // many runs, each with a pipeline of its own

/// Everything a stage works with. Kept outside of what may fail: a failure is told before any of it is torn down, since
/// that may wait for ranks that will never answer.
struct Workplace {
  explicit Workplace(Session& owner) : session(owner) {}
  ~Workplace() { session.set_epilogue({}); }  // it writes into the folder's log
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  Session& session;
  std::unique_ptr<dist::Communicator> communicator;
  std::unique_ptr<RunFolder> folder;
  std::unique_ptr<Signals> signals;
  std::unique_ptr<trainer::Context> context;
  std::unique_ptr<Pipeline> pipeline;
};

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// What a rank leaves behind when the watchdog ends it.
void write_epilogue(RunFolder& folder, const dist::TripReport& report) {
  folder.log().line("ended by the watchdog with code " + std::to_string(report.code) + ": " + report.what);
  folder.log().line("the last collectives of this rank, oldest first:");
  for (const std::string& line : report.history) folder.log().line("  " + line);
}

void log_start(Workplace& workplace, const CommandLine& line, const Session& session, const Setting& setting) {
  workplace.folder->log().line("decant " DECANT_VERSION " " + line.command + " " + line.path + ": " +
                               place_of(session.rank(), session.size()) + ", process " + std::to_string(::getpid()) +
                               ", " + workplace.communicator->backend() + " on " + setting.device.str() + ", " +
                               std::to_string(setting.threads) + " threads on cores " + allowed_cores());
}

void print_plan(trainer::JobOptions& job, const trainer::Registries& registries, Session& session) {
  agree(session.host(), [&] {
    if (!session.leads()) return;
    const std::string text = plain_text(Pipeline::plan(job, registries, session.size()));
    std::fputs(text.c_str(), stdout);
  });
}

/// The command, in a job whose ranks have found each other.
int work(const CommandLine& line, const trainer::Registries& registries, Session& session) {
  trainer::JobOptions job(registries);
  trainer::FaultPlan faults;
  require_same(session.host(), "versions of decant", "decant " + build_text());
  agree(session.host(), [&] {
    JobFile file = JobFile::load(line.path);
    for (const std::string& assignment : line.sets) file.set(assignment);
    file.read_into(job, [&] {
      job.check();
      if (line.command == kSweep) static_cast<void>(trainer::check_sweep(job, registries));
    });
    faults = trainer::FaultPlan(line.fault, session.rank());
  });
  require_same(session.host(), "jobs", job_text(job, Comments::kNone));
  if (line.dry_run) {
    print_plan(job, registries, session);
    return 0;
  }
  const Setting setting = choose_setting(job.run, session);
  Workplace workplace(session);
  workplace.folder = std::make_unique<RunFolder>(job, session.host());
  session.set_epilogue(
      [&folder = *workplace.folder](const dist::TripReport& report) { write_epilogue(folder, report); });
  if (!session.note().empty()) workplace.folder->log().line(session.note());
  session.set_timeout(std::chrono::seconds(job.run.timeout_seconds));
  try {
    workplace.communicator = session.make_communicator(setting.device, std::chrono::seconds(job.run.timeout_seconds));
    log_start(workplace, line, session, setting);
    workplace.signals = std::make_unique<Signals>(session.leads());
    workplace.context = std::make_unique<trainer::Context>(
        trainer::Context{*workplace.communicator, workplace.folder->metrics(), workplace.folder->progress(),
                         workplace.folder->log(), faults, workplace.signals->stop_requested(), setting.threads});
    if (line.command == kSweep)
      trainer::run_sweep(job, registries, *workplace.context);
    else
      workplace.pipeline = std::make_unique<Pipeline>(job, registries, *workplace.context);
    for (const auto& [name, stage] : kStages)
      if (name == line.command) (*workplace.pipeline.*stage)();
    workplace.folder->metrics().set("decant_last_success_timestamp_seconds", unix_seconds());
    workplace.folder->log().line("done");
    return 0;
  } catch (...) {
    const Failure failure = current_failure();
    // From here on SIGTERM ends this rank, as it should when another one has spoken.
    if (failure.code != static_cast<int>(base::ExitCode::kStopped)) workplace.signals.reset();
    workplace.folder->progress().leave();
    workplace.folder->log().line("ended with code " + std::to_string(failure.code) + ": " + failure.text);
    return session.leave(failure);
  }
}

}  // namespace

bool is_stage(const std::string& command) {
  for (const auto& [name, stage] : kStages)
    if (name == command) return true;
  return command == kSweep;
}

int run_stage(const CommandLine& line, const trainer::Registries& registries) {
  Session session(detect_launcher(process_environment()));
  try {
    return work(line, registries, session);
  } catch (const dist::CommError&) {  // before there was a folder: ranks did not meet
    return session.leave(current_failure());
  }
}

}  // namespace decant::launch
