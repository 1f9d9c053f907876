#include "launch/commands.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>

#include "base/files.h"
#include "data/import.h"
#include "data/import_text.h"
#include "data/synthesize.h"
#include "launch/bench_command.h"
#include "launch/doctor.h"
#include "launch/export_command.h"
#include "launch/inspect.h"
#include "launch/job_file.h"
#include "launch/job_text.h"
#include "launch/labels_command.h"
#include "launch/plain_text.h"
#include "launch/recommend_command.h"
#include "launch/run_list.h"
#include "launch/stage_command.h"
#include "launch/version.h"
#include "monitoring/progress.h"
#include "trainer/bench.h"
#include "trainer/compare.h"

namespace decant::launch {

namespace {

/// To stdout; a full disk behind it is an error like any other.
void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw base::FileError("standard output", std::strerror(errno));
}

/// The import replaces what is at `out`, which must then be ours to replace.
void refuse_foreign_folder(const std::filesystem::path& out) {
  namespace fs = std::filesystem;
  if (!fs::exists(out) || (fs::is_directory(out) && (fs::is_empty(out) || fs::exists(out / "manifest.json")))) return;
  throw base::ConfigError("--out " + out.string() + " is there and is no dataset of decant's: choose another name");
}

void import_files(const CommandLine& line) {
  data::ImportOptions options;
  auto given = line.options;
  for (const auto& assignment : line.sets) set_value(given, assignment);
  base::read_options(given, options);
  options.files = line.files;
  refuse_foreign_folder(line.out);
  monitoring::Progress progress(stderr, true);
  bool started = false;
  const auto summary = data::import_dataset(options, line.out, [&](std::int64_t done, std::int64_t total) {
    if (!std::exchange(started, true)) progress.start("import", 0, total);
    progress.update(done, std::to_string(done >> 20) + " of " + std::to_string(total >> 20) + " MiB");
  });
  progress.leave();
  print((line.json ? summary.to_json().dump(1) : data::import_text(line.out)) + "\n");
}

void synthesize(const CommandLine& line) {
  data::SynthesizeOptions options;
  base::read_options(line.options, options);
  data::synthesize(options, line.out);
  print("wrote " + line.out + " (" + std::to_string(std::filesystem::file_size(line.out)) + " bytes)\n");
}

void compare_folders(const CommandLine& line) {
  trainer::CompareOptions options;
  base::read_options(line.options, options);
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const auto differences = job_differences(line.files);
  base::Json found = seeds_of_one_job(differences) ? trainer::compare_runs(line.files, options, threads)
                                                   : trainer::compare_jobs(line.files, options, threads);
  found["differences"] = differences;
  print(line.json ? found.dump(1) + "\n" : trainer::format_comparison(found) + format_differences(differences));
}

void show_runs(const CommandLine& line) {
  const auto runs = list_runs(line.files);
  print(line.json ? runs.dump(1) + "\n" : format_runs(runs));
}

void print_config(const CommandLine& line, const trainer::Registries& registries) {
  trainer::JobOptions job(registries);
  if (line.path.empty()) {
    base::read_options({{"version", 1}}, job);
  } else {
    JobFile file = JobFile::load(line.path);
    for (const std::string& assignment : line.sets) file.set(assignment);
    file.read_into(job);
  }
  if (!line.markdown) return print(job_text(job, Comments::kHelp));
  print(
      "# The job file\n\nA job file is YAML. Every option but `version`, `run.folder` and the data has a default; "
      "`decant "
      "config` prints them all\nas a job file, `decant config JOB.yaml` prints what a job file comes to. An unknown "
      "key is an "
      "error. `--set KEY=VALUE`\nreplaces an option from the command line, in the order given: `--set "
      "losses.kl_tail.weight=0.5 "
      "--set labels.temperatures=[1,2]`.\nNames in angle brackets are yours to choose; an entry's `type` defaults to "
      "its "
      "name.\n\n`decant config --markdown` writes this page.\n\n" +
      base::document_options(job));
}

}  // namespace

int execute(const CommandLine& line, const trainer::Registries& registries) {
  if (!line.help.empty()) {
    print(line.help);
  } else if (line.command == "--version") {
    print(version_text());
  } else if (line.command == "import" && !line.out.empty()) {
    import_files(line);
  } else if (is_stage(line.command)) {
    return run_stage(line, registries);
  } else if (line.command == "doctor") {
    return run_doctor(line, registries);
  } else if (line.command == "synthesize") {
    synthesize(line);
  } else if (line.command == "compare") {
    compare_folders(line);
  } else if (line.command == "runs") {
    show_runs(line);
  } else if (line.command == "inspect") {
    InspectOptions options;
    base::read_options(line.options, options);
    const base::Json tree = inspect(line.path, options);
    print(line.json ? tree.dump(1, ' ', false, base::Json::error_handler_t::replace) + "\n" : plain_text(tree));
  } else if (line.command == "labels") {
    const base::Json tree = labels_command(line, registries);
    print(line.json ? tree.dump(1, ' ', false, base::Json::error_handler_t::replace) + "\n" : plain_text(tree));
  } else if (line.command == "recommend") {
    recommend_command(line, registries);
  } else if (line.command == "export") {
    const base::Json tree = export_command(line, registries);
    print(line.json ? tree.dump(1) + "\n" : plain_text(tree));
  } else if (line.command == "bench") {
    const base::Json bench = bench_command(line, registries);
    print(line.json ? bench.dump(1) + "\n" : trainer::format_bench(bench));
  } else if (line.command == "config") {
    print_config(line, registries);
  }
  return 0;
}

}  // namespace decant::launch
