#include "launch/commands.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>

#include "data/synthesize.h"
#include "launch/bench_command.h"
#include "launch/doctor.h"
#include "launch/export_command.h"
#include "launch/import_command.h"
#include "launch/inspect.h"
#include "launch/job_file.h"
#include "launch/job_text.h"
#include "launch/labels_command.h"
#include "launch/plain_text.h"
#include "launch/recommend_command.h"
#include "launch/run_list.h"
#include "launch/stage_command.h"
#include "launch/version.h"
#include "trainer/bench.h"
#include "trainer/compare.h"

namespace decant::launch {

namespace {

void synthesize(const CommandLine& line) {
  data::SynthesizeOptions options;
  base::read_options(line.options, options);
  data::synthesize(options, line.out);
  print_text("wrote " + line.out + " (" + std::to_string(std::filesystem::file_size(line.out)) + " bytes)\n");
}

void compare_folders(const CommandLine& line) {
  trainer::CompareOptions options;
  base::read_options(line.options, options);
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const auto differences = job_differences(line.files);
  base::Json found = seeds_of_one_job(differences) ? trainer::compare_runs(line.files, options, threads)
                                                   : trainer::compare_jobs(line.files, options, threads);
  found["differences"] = differences;
  print_text(line.json ? found.dump(1) + "\n" : trainer::format_comparison(found) + format_differences(differences));
}

void show_runs(const CommandLine& line) {
  const auto runs = list_runs(line.files);
  print_text(line.json ? runs.dump(1) + "\n" : format_runs(runs));
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
  if (!line.markdown) return print_text(job_text(job, Comments::kHelp));
  print_text(
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
    print_text(line.help);
  } else if (line.command == "--version") {
    print_text(version_text());
  } else if (line.command == "import" && !line.out.empty()) {
    return run_import(line);
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
    const base::Json tree = inspect(line.path);
    print_text(line.json ? tree.dump(1, ' ', false, base::Json::error_handler_t::replace) + "\n" : plain_text(tree));
  } else if (line.command == "labels") {
    const base::Json tree = labels_command(line, registries);
    print_text(line.json ? tree.dump(1, ' ', false, base::Json::error_handler_t::replace) + "\n" : plain_text(tree));
  } else if (line.command == "recommend") {
    recommend_command(line, registries);
  } else if (line.command == "export") {
    const base::Json tree = export_command(line, registries);
    print_text(line.json ? tree.dump(1) + "\n" : plain_text(tree));
  } else if (line.command == "bench") {
    const base::Json bench = bench_command(line, registries);
    print_text(line.json ? bench.dump(1) + "\n" : trainer::format_bench(bench));
  } else if (line.command == "config") {
    print_config(line, registries);
  }
  return 0;
}

}  // namespace decant::launch
