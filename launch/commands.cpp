#include "launch/commands.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
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

std::string synthesize(const CommandLine& line) {
  data::SynthesizeOptions options;
  base::read_options(line.options, options);
  data::synthesize(options, line.out);
  return "wrote " + line.out + " (" + std::to_string(std::filesystem::file_size(line.out)) + " bytes)\n";
}

std::string comparison_text(const CommandLine& line) {
  trainer::CompareOptions options;
  base::read_options(line.options, options);
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const auto differences = job_differences(line.files);
  base::Json found = seeds_of_one_job(differences) ? trainer::compare_runs(line.files, options, threads)
                                                   : trainer::compare_jobs(line.files, options, threads);
  found["differences"] = differences;
  return line.json ? found.dump(1) + "\n" : trainer::format_comparison(found) + format_differences(differences);
}

std::string runs_text(const CommandLine& line) {
  const auto runs = list_runs(line.files);
  return line.json ? runs.dump(1) + "\n" : format_runs(runs);
}

std::string config_text(const CommandLine& line, const trainer::Registries& registries) {
  trainer::JobOptions job(registries);
  if (line.path.empty()) {
    base::read_options({{"version", 1}}, job);
  } else {
    JobFile file = JobFile::load(line.path);
    for (const std::string& assignment : line.sets) file.set(assignment);
    file.read_into(job);
  }
  if (!line.markdown) return job_text(job, Comments::kHelp);
  return "# The job file\n\n"
         "A job file is YAML. Every option but `version`, `run.folder` and the data has a default; `decant config` "
         "prints "
         "them all\n"
         "as a job file, `decant config JOB.yaml` prints what a job file comes to. An unknown key is an error. "
         "`--set KEY=VALUE`\n"
         "replaces an option from the command line, in the order given: `--set losses.kl_tail.weight=0.5 "
         "--set labels.temperatures=[1,2]`.\n"
         "Names in angle brackets are yours to choose; an entry's `type` defaults to its name.\n\n"
         "`decant config --markdown` writes this page.\n\n" +
         base::document_options(job);
}

std::string tree_text(const base::Json& tree, bool json) {
  return json ? tree.dump(1, ' ', false, base::Json::error_handler_t::replace) + "\n" : plain_text(tree);
}

std::string inspection_text(const CommandLine& line) {
  InspectOptions options;
  base::read_options(line.options, options);
  return tree_text(inspect(line.path, options), line.json);
}

std::string bench_text(const CommandLine& line, const trainer::Registries& registries) {
  const base::Json bench = bench_command(line, registries);
  return line.json ? bench.dump(1) + "\n" : trainer::format_bench(bench);
}

int printed(const std::string& text) {
  print_text(text);
  return 0;
}

/// Prints as the answers come.
int run_recommend(const CommandLine& line, const trainer::Registries& registries) {
  recommend_command(line, registries);
  return 0;
}

using Line = const CommandLine&;
using Known = const trainer::Registries&;

struct Runner {
  std::string_view command;
  int (*run)(Line line, Known registries);  // returns the exit code
};

/// Every command that is no stage of a job.
constexpr std::array kRunners{
    Runner{"--version", [](Line, Known) { return printed(version_text()); }},
    Runner{"synthesize", [](Line line, Known) { return printed(synthesize(line)); }},
    Runner{"compare", [](Line line, Known) { return printed(comparison_text(line)); }},
    Runner{"runs", [](Line line, Known) { return printed(runs_text(line)); }},
    Runner{"inspect", [](Line line, Known) { return printed(inspection_text(line)); }},
    Runner{"labels", [](Line line, Known known) { return printed(tree_text(labels_command(line, known), line.json)); }},
    Runner{"recommend", run_recommend},
    Runner{"export", [](Line line, Known known) { return printed(tree_text(export_command(line, known), line.json)); }},
    Runner{"bench", [](Line line, Known known) { return printed(bench_text(line, known)); }},
    Runner{"doctor", run_doctor},
    Runner{"config", [](Line line, Known known) { return printed(config_text(line, known)); }},
};

}  // namespace

int execute(const CommandLine& line, const trainer::Registries& registries) {
  if (!line.help.empty()) return printed(line.help);
  if (line.command == "import" && !line.out.empty()) return run_import(line);
  if (is_stage(line.command)) return run_stage(line, registries);
  const auto* runner = std::find_if(kRunners.begin(), kRunners.end(),
                                    [&](const Runner& known) { return known.command == line.command; });
  if (runner == kRunners.end()) throw std::logic_error("nothing runs the command '" + line.command + "'");
  return runner->run(line, registries);
}

}  // namespace decant::launch
