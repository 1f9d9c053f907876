#include "launch/doctor.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "dist/all_reduce_check.h"
#include "dist/clock_offsets.h"
#include "dist/mpi_facts.h"
#include "launch/diagnosis.h"
#include "launch/failure.h"
#include "launch/folder_probe.h"
#include "launch/job_file.h"
#include "launch/plain_text.h"
#include "launch/rank_facts.h"
#include "launch/session.h"
#include "launch/setting.h"
#include "launch/version.h"

namespace decant::launch {

namespace {

using base::Json;

constexpr std::chrono::seconds kTimeout{60};  // a rank that does not answer a doctor is not waited for as in a job

/// To so many digits, for people and files alike.
double rounded(double value, int digits) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.*g", digits, value);
  return std::stod(text.data());
}

/// What is examined: a job's ranks, device and folder, or those of the command line.
struct Subject {
  trainer::RunOptions run;
  std::filesystem::path folder = std::filesystem::current_path();
  bool has_job = false;
};

Subject read_subject(const CommandLine& line, const DoctorOptions& options, const trainer::Registries& registries) {
  Subject out;
  out.run.device = options.device;
  if (line.path.empty()) return out;
  trainer::JobOptions job(registries);
  JobFile file = JobFile::load(line.path);
  for (const std::string& assignment : line.sets) file.set(assignment);
  file.read_into(job, [&] { job.check(); });
  return {job.run, job.run.folder, true};
}

struct Examination {
  std::string exchange = "not tried, for the problems below";
  std::vector<RankFacts> ranks;
  std::vector<dist::AllReduceTime> times;
  std::vector<Finding> findings;
};

/// Collective: everybody's facts, by rank.
std::vector<RankFacts> gather_facts(const RankFacts& mine, dist::Communicator& communicator) {
  std::vector<RankFacts> out;
  const std::string told = to_json(mine).dump(-1, ' ', false, Json::error_handler_t::replace);
  for (const std::string& text : communicator.gather_bytes(told)) out.push_back(facts_of(Json::parse(text)));
  return out;
}

Examination examine(const Subject& subject, const DoctorOptions& options, Session& session, const Launcher& launcher) {
  const Setting setting = choose_setting(subject.run, session);
  dist::Communicator& host = session.host();
  Examination out;
  RankFacts mine;
  agree(host, [&] { mine = rank_facts(session, setting); });
  const dist::ClockOffset clock = dist::clock_offsets(host).at(static_cast<std::size_t>(session.rank()));
  mine.clock_ms = rounded(clock.seconds * 1e3, 3);
  mine.clock_uncertainty_ms = rounded(clock.uncertainty * 1e3, 3);
  const std::string unwritable = probe_folder(subject.folder, host, mine);
  out.ranks = gather_facts(mine, host);
  out.findings = diagnose_launch(launcher, process_environment());
  const auto add = [&](std::vector<Finding> more) {
    out.findings.insert(out.findings.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  add(diagnose(out.ranks, {launcher.name, subject.folder.string(), subject.has_job}));
  if (!unwritable.empty()) add({{subject.has_job ? base::ExitCode::kData : base::ExitCode::kOk, unwritable}});

  if (std::any_of(out.findings.begin(), out.findings.end(), [](const Finding& one) { return one.is_problem(); }))
    return out;
  const auto communicator = session.make_communicator(setting.device, kTimeout);
  out.exchange = communicator->backend() + " on " + (setting.device.is_cuda() ? "CUDA devices" : "the CPU");
  for (const std::string& wrong : dist::check_all_reduce(*communicator)) add({{base::ExitCode::kCommunication, wrong}});
  if (session.size() > 1)
    out.times =
        dist::time_all_reduce(*communicator, {std::chrono::duration<double>(options.seconds), options.most_mib << 20});
  return out;
}

Json ranks_table(const std::vector<RankFacts>& ranks) {
  Json out = Json::array();
  for (const RankFacts& rank : ranks)
    out.push_back({{"rank", rank.rank},
                   {"host", rank.host},
                   {"local", rank.local_rank},
                   {"cores", rank.cores},
                   {"threads", rank.threads},
                   {"device", rank.device},
                   {"clock_ms", rank.clock_ms},
                   {"within_ms", rank.clock_uncertainty_ms}});
  return out;
}

Json hosts_table(const std::vector<RankFacts>& ranks) {
  Json out = Json::array();
  for (const RankFacts& rank : ranks) {
    if (rank.local_rank != 0) continue;
    const auto here = std::count_if(ranks.begin(), ranks.end(), [&](const auto& one) { return one.host == rank.host; });
    out.push_back({{"host", rank.host},
                   {"ranks", here},
                   {"cores", rank.host_cores},
                   {"memory_mib", rank.memory_mib},
                   {"memory_free_mib", rank.memory_free_mib},
                   {"shm_free_mib", rank.shm_free_mib},
                   {"disk_free_mib", rank.disk_free_mib},
                   {"file_system", rank.file_system}});
  }
  return out;
}

Json devices_table(const std::vector<RankFacts>& ranks) {
  Json out = Json::array();
  for (const RankFacts& rank : ranks)
    if (!rank.device_id.empty())
      out.push_back({{"rank", rank.rank},
                     {"device", rank.device},
                     {"name", rank.device_name},
                     {"memory_mib", rank.device_mib},
                     {"memory_free_mib", rank.device_free_mib},
                     {"id", rank.device_id}});
  return out;
}

Json times_table(const std::vector<dist::AllReduceTime>& times) {
  Json out = Json::array();
  for (const dist::AllReduceTime& time : times)
    out.push_back({{"bytes", time.bytes},
                   {"median_us", rounded(time.seconds * 1e6, 4)},
                   {"least_us", rounded(time.fastest_seconds * 1e6, 4)},
                   {"most_us", rounded(time.slowest_seconds * 1e6, 4)},
                   {"algbw_gb_s", rounded(time.algbw * 1e-9, 4)},
                   {"busbw_gb_s", rounded(time.busbw * 1e-9, 4)},
                   {"repeats", time.repeats}});
  return out;
}

std::string verdict(const Examination& found) {
  const auto problems = std::count_if(found.findings.begin(), found.findings.end(),
                                      [](const Finding& finding) { return finding.is_problem(); });
  const auto warnings = static_cast<std::ptrdiff_t>(found.findings.size()) - problems;
  const auto counted = [](std::ptrdiff_t count, const std::string& word) {
    return std::to_string(count) + " " + word + (count == 1 ? "" : "s");
  };
  if (problems > 0)
    return counted(problems, "problem") + ", " + counted(warnings, "warning") + ": a job would fail here";
  std::string out = warnings > 0 ? "usable, with " + counted(warnings, "warning") : "good";
  if (!found.times.empty()) {
    std::array<char, 120> text{};
    std::snprintf(
        text.data(), text.size(), ": %zu ranks agree on all sums; %.4g us for %lld bytes, %.4g GB/s (busbw) for %lld",
        found.ranks.size(), found.times.front().seconds * 1e6, static_cast<long long>(found.times.front().bytes),
        found.times.back().busbw * 1e-9, static_cast<long long>(found.times.back().bytes));
    out += text.data();
  }
  return out;
}

Json texts_of(const std::vector<Finding>& findings, bool problems) {
  Json out = Json::array();
  for (const Finding& finding : findings)
    if (finding.is_problem() == problems) out.push_back(finding.text);
  return out;
}

Json tree_of(const Examination& found, const Subject& subject, const Launcher& launcher) {
  Json versions = Json::object();
  for (const auto& [part, version] : version_rows()) versions[part] = version;
  const dist::MpiFacts mpi = dist::mpi_facts();
  Json out;
  out["versions"] = std::move(versions);
  out["started"] = {{"by", launcher.name.empty() ? "itself, alone" : launcher.name},
                    {"ranks", found.ranks.size()},
                    {"exchange", found.exchange},
                    {"folder", subject.folder.string()}};
  out["mpi"] = {{"library", mpi.library},
                {"thread_level", mpi.thread_level.empty() ? "not initialised" : mpi.thread_level},
                {"cuda_aware", mpi.cuda_aware}};
  out["hdf5"] = {{"file_locks", "off, whatever HDF5_USE_FILE_LOCKING says"}};
  out["hosts"] = hosts_table(found.ranks);
  out["ranks"] = ranks_table(found.ranks);
  if (Json devices = devices_table(found.ranks); !devices.empty()) out["devices"] = std::move(devices);
  if (!found.times.empty()) out["all_reduce"] = times_table(found.times);
  out["warnings"] = texts_of(found.findings, false);
  out["problems"] = texts_of(found.findings, true);
  out["verdict"] = verdict(found);
  return out;
}

std::string text_of(Json tree) {
  std::string findings;
  for (const auto& [key, name] : {std::pair{"warnings", "warning: "}, std::pair{"problems", "problem: "}}) {
    for (const Json& text : tree[key]) findings += name + text.get<std::string>() + "\n";
    tree.erase(key);
  }
  const auto verdict = tree["verdict"].get<std::string>();
  tree.erase("verdict");
  return plain_text(tree) + findings + "verdict: " + verdict + "\n";
}

}  // namespace

void DoctorOptions::describe(base::Fields& fields) {
  fields.text("device", device, "auto, cpu or cuda; a job file says it itself", {"auto", "cpu", "cuda"});
  fields.real("seconds", seconds, {0, 3600}, "that timing the exchange may take");
  fields.integer("most_mib", most_mib, {1, 256}, "largest message that is timed, in MiB");
}

int run_doctor(const CommandLine& line, const trainer::Registries& registries) {
  const Launcher launcher = detect_launcher(process_environment());
  Session session(launcher);
  DoctorOptions options;
  Subject subject;
  agree(session.host(), [&] {
    base::read_options(line.options, options);
    subject = read_subject(line, options, registries);
  });
  try {
    const Examination found = examine(subject, options, session, launcher);
    if (session.leads()) {
      const Json tree = tree_of(found, subject, launcher);
      const std::string text =
          line.json ? tree.dump(1, ' ', false, Json::error_handler_t::replace) + "\n" : text_of(tree);
      std::fputs(text.c_str(), stdout);
      std::fflush(stdout);
    }
    for (const Finding& finding : found.findings)
      if (finding.is_problem()) return static_cast<int>(finding.code);
    return 0;
  } catch (const CommonError&) {
    throw;
  } catch (...) {
    return session.leave(current_failure());
  }
}

}  // namespace decant::launch
