#include "launch/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "data/import.h"
#include "data/synthesize.h"
#include "launch/doctor.h"
#include "launch/inspect.h"
#include "launch/option_flags.h"
#include "trainer/bench.h"
#include "trainer/compare.h"
#include "trainer/export.h"
#include "trainer/recommend.h"

namespace decant::launch {

namespace {

using base::ConfigError;

struct Command {
  std::string_view name, summary;
  void (*declare)(CLI::App&, CommandLine&);
  void (*check)(CommandLine&);  // what no single option can know
  std::string_view example;
};

[[noreturn]] void refuse(const std::string& command, const std::string& why) {
  throw ConfigError(command + ": " + why + " (`decant " + command + " --help` has an example)");
}

void declare_set(CLI::App& app, CommandLine& line) {
  app.add_option("--set", line.sets, "Option that replaces the job file's; may be given again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

void declare_stage_options(CLI::App& app, CommandLine& line) {
  declare_set(app, line);
  app.add_flag("--dry-run", line.dry_run, "Say what would be done, its sizes and its memory; do nothing");
  app.add_option("--fault", line.fault)->group("");  // hidden: tests plant faults with it
}

void declare_stage(CLI::App& app, CommandLine& line) {
  app.add_option("JOB", line.path, "Job file (YAML)");
  declare_stage_options(app, line);
}

void declare_import(CLI::App& app, CommandLine& line) {
  app.add_option("FILES", line.files, "A job file (YAML), or with --out the raw files");
  declare_stage_options(app, line);
  app.add_option("--out", line.out, "Dataset to make from the raw files, without a job file")->type_name("DIR");
  app.add_flag("--json", line.json, "With --out: print the summary as JSON");
  data::ImportOptions options;
  add_option_flags(app, options, line.options, {"files", "items", "users"});  // those by --set
}

void declare_synthesize(CLI::App& app, CommandLine& line) {
  app.add_option("--out", line.out, "Text file to write")->type_name("FILE");
  data::SynthesizeOptions options;
  add_option_flags(app, options, line.options);
}

void declare_compare(CLI::App& app, CommandLine& line) {
  app.add_option("RUNS", line.files, "Run folders, evaluated: of one job under several seeds, or of jobs that differ");
  app.add_flag("--json", line.json, "Print JSON");
  trainer::CompareOptions options;
  add_option_flags(app, options, line.options);
}

void declare_runs(CLI::App& app, CommandLine& line) {
  app.add_option("FOLDERS", line.files, "Where run folders lie, at any depth; they themselves will do");
  app.add_flag("--json", line.json, "Print JSON");
}

void declare_inspect(CLI::App& app, CommandLine& line) {
  app.add_option("PATH", line.path, "Dataset, label set, checkpoint, weights file or run folder");
  app.add_flag("--json", line.json, "Print JSON");
  InspectOptions options;
  add_option_flags(app, options, line.options);
}

void declare_labels(CLI::App& app, CommandLine& line) {
  app.add_option("WHAT", line.files,
                 "status or verify, then a job file (YAML) or, to verify, the folder of a label set");
  declare_set(app, line);
  app.add_flag("--json", line.json, "Print JSON");
}

void declare_recommend(CLI::App& app, CommandLine& line) {
  app.add_option(
      "JOB HISTORIES", line.files,
      "A job file (YAML) or a run folder, then files of histories; none: standard input. A line is a name and "
      "items, or an object {id, items}, whose items may be events: {item, time, event, ...}");
  declare_set(app, line);
  app.add_flag("--json", line.json, "Print a JSON object a history");
  trainer::RecommendOptions options;
  add_option_flags(app, options, line.options);
}

/// A boolean option as a flag without a value.
void add_switch(CLI::App& app, CommandLine& line, const std::string& name, const std::string& help) {
  app.add_flag_callback(
      "--" + name, [&line, name] { line.options[name] = true; }, help);
}

void declare_export(CLI::App& app, CommandLine& line) {
  app.add_option("RUN", line.path, "A run folder, or the job file of one (YAML)");
  app.add_option("--to", line.out, "Folder to write")->type_name("DIR");
  declare_set(app, line);
  app.add_flag("--json", line.json, "Print JSON");
  trainer::ExportOptions options;
  add_option_flags(app, options, line.options, {"int8", "replace"});
  add_switch(app, line, "int8", "Int8 rows with scales too, and what they cost in quality");
  add_switch(app, line, "replace", "An export that is there already is replaced");
}

void declare_bench(CLI::App& app, CommandLine& line) {
  app.add_option("RUN", line.path, "A run folder, or the job file of one (YAML)");
  declare_set(app, line);
  app.add_flag("--json", line.json, "Print JSON");
  trainer::BenchOptions options;
  add_option_flags(app, options, line.options);
}

void declare_doctor(CLI::App& app, CommandLine& line) {
  app.add_option("JOB", line.path, "Job file (YAML): its device, threads and run folder are examined");
  declare_set(app, line);
  app.add_flag("--json", line.json, "Print JSON");
  DoctorOptions options;
  add_option_flags(app, options, line.options);
}

void declare_config(CLI::App& app, CommandLine& line) {
  app.add_option("JOB", line.path, "Job file (YAML); without one: the defaults");
  declare_set(app, line);
  app.add_flag("--markdown", line.markdown, "Print the tables of docs/config.md");
}

void check_job(CommandLine& line) {
  if (line.path.empty()) refuse(line.command, "give a job file");
}

void check_import(CommandLine& line) {
  if (!line.out.empty()) {
    if (line.files.empty()) refuse(line.command, "give the raw files to import");
    if (line.dry_run) refuse(line.command, "--dry-run needs a job file, not --out");
    return;
  }
  if (line.files.size() > 1) refuse(line.command, "give one job file, or --out DIR and any number of raw files");
  if (!line.options.empty()) {
    const std::string key = line.options.begin().key();
    refuse(line.command, "a flag for '" + key + "' needs --out; a job file takes --set data.import." + key + "=...");
  }
  if (line.json)
    refuse(line.command, "--json needs --out; with a job file the summary is in <run.folder>/dataset/manifest.json");
  if (!line.files.empty()) line.path = std::exchange(line.files, {}).front();
  check_job(line);
}

void check_synthesize(CommandLine& line) {
  if (line.out.empty()) refuse(line.command, "give --out FILE");
}

void check_compare(CommandLine& line) {
  if (line.files.empty()) refuse(line.command, "give the run folders, one a seed");
}

void check_runs(CommandLine& line) {
  if (line.files.empty()) refuse(line.command, "give a folder");
}

void check_inspect(CommandLine& line) {
  if (line.path.empty()) refuse(line.command, "give a path");
}

void check_labels(CommandLine& line) {
  if (line.files.size() != 2 || (line.files.front() != "status" && line.files.front() != "verify"))
    refuse(line.command, "say status or verify, and then of what");
}

void check_recommend(CommandLine& line) {
  if (line.files.empty()) refuse(line.command, "give a job file");
}

void check_export(CommandLine& line) {
  if (line.path.empty()) refuse(line.command, "give a run folder or its job file");
  if (line.out.empty()) refuse(line.command, "give --to DIR");
}

void check_bench(CommandLine& line) {
  if (line.path.empty()) refuse(line.command, "give a run folder or its job file");
}

void check_doctor(CommandLine& line) {
  if (!line.path.empty() && line.options.contains("device"))
    refuse(line.command, "a job file says its device itself: --set run.device=...");
  if (line.path.empty() && !line.sets.empty()) refuse(line.command, "--set needs a job file");
}

void check_config(CommandLine& line) {
  if (line.path.empty() && !line.sets.empty()) refuse(line.command, "--set needs a job file");
}

constexpr std::array kCommands{
    Command{"run", "Import, teacher, control, gate, labels, student, report: what is done already is skipped",
            declare_stage, check_job,
            "decant run examples/next_item.yaml\n  mpirun -n 2 decant run job.yaml --set labels.k=50"},
    Command{"import", "Make a dataset from raw files, as the job file says or by --out", declare_import, check_import,
            "decant import job.yaml\n  decant import --format sequences --out beauty beauty.txt --min-events 3\n  "
            "mpirun -n 4 decant import --format interactions --out shop events.csv"},
    Command{"train-teacher", "Train the teacher", declare_stage, check_job,
            "decant train-teacher job.yaml --set teacher.train.max_epochs=50"},
    Command{"train-control", "Train the control: the student without a teacher, which the teacher must beat",
            declare_stage, check_job, "decant train-control job.yaml"},
    Command{"label", "Write the teacher's soft labels", declare_stage, check_job, "mpirun -n 4 decant label job.yaml"},
    Command{"distill", "Train the control without a teacher, and the student on the labels", declare_stage, check_job,
            "decant distill job.yaml --set losses.kl_tail.weight=0.5"},
    Command{"evaluate", "Rank all items with teacher, student, control and baselines; write report.json", declare_stage,
            check_job, "decant evaluate job.yaml"},
    Command{"sweep", "Try settings and seeds, choose on valid with the same search for the control, print one table",
            declare_stage, check_job, "decant sweep job.yaml --set sweep.seeds=3"},
    Command{"compare", "Student against control and teacher over seeds, from saved ranks: difference, interval, p",
            declare_compare, check_compare, "decant compare runs/seed-1 runs/seed-2 runs/seed-3 --metric ndcg@10"},
    Command{"runs", "List the run folders below a folder: how far each is, and its figures", declare_runs, check_runs,
            "decant runs runs\n  decant runs runs/a runs/b --json"},
    Command{"synthesize", "Write a generated behaviour log with planted structure", declare_synthesize,
            check_synthesize, "decant synthesize --out examples/data/synthetic.txt --users 3000 --items 300"},
    Command{"inspect", "Say what is in a file or folder of decant's, and verify it", declare_inspect, check_inspect,
            "decant inspect runs/quickstart/dataset"},
    Command{"labels", "Say which rows a job's label sets have, or verify them", declare_labels, check_labels,
            "decant labels status job.yaml\n  decant labels verify runs/quickstart/labels/teacher"},
    Command{
        "recommend", "The best next items of histories, by a finished model: lines in, lines out", declare_recommend,
        check_recommend,
        "decant recommend job.yaml histories.txt --k 20\n  echo 'anna bread milk' | decant recommend job.yaml --json\n"
        "  echo '{\"id\": \"anna\", \"items\": [{\"item\": \"bread\", \"time\": \"2024-05-01 10:00\", \"event\": "
        "\"cart\"}]}' |\n"
        "    decant recommend job.yaml"},
    Command{"export", "Write a finished model for other programs: safetensors, its description, original ids, ONNX",
            declare_export, check_export,
            "decant export runs/quickstart --to student\n  decant export job.yaml --side teacher --int8 --to teacher"},
    Command{"bench", "Time how fast teacher, student, the student in int8 and the control answer; speed gained",
            declare_bench, check_bench, "decant bench runs/quickstart\n  decant bench job.yaml --k 100 --batch 1024"},
    Command{"doctor",
            "Examine where a job is to run: versions, ranks, devices, folder, exchange; say whether it would do",
            declare_doctor, check_doctor, "decant doctor job.yaml\n  mpirun -n 4 decant doctor --seconds 10"},
    Command{"config", "Print every option with its default as a job file, or a job file with all of them",
            declare_config, check_config,
            "decant config > job.yaml\n  decant config job.yaml --set batch.sequences=256"},
};

std::string overview() {
  std::string out =
      "decant pours what a large recommender knows into a small one.\n\nUsage: decant COMMAND ...\n\nCommands:\n";
  for (const Command& command : kCommands)
    out += "  " + std::string(command.name) + std::string(15 - command.name.size(), ' ') +
           std::string(command.summary) + "\n";
  out +=
      "  --version      Print the versions of decant and of its parts\n\n"
      "`decant COMMAND --help` says more of each. Commands with a job file, and import, run alone, under mpirun or "
      "under srun.\n\n"
      "Example:\n  decant synthesize --out examples/data/synthetic.txt\n  mpirun -n 2 decant run "
      "examples/next_item.yaml\n";
  return out;
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (command.name == name) return command;
    names.emplace_back(command.name);
  }
  const std::string near = base::nearest(name, names);
  const std::string hint = near.empty() ? "known: " + base::join(names) : "did you mean '" + near + "'?";
  if (name.starts_with("-"))
    throw ConfigError("unknown option '" + name + "': a command comes first (" + base::join(names) + ")");
  throw ConfigError("unknown command '" + name + "'; " + hint);
}

/// CLI11 leaves two empty lines where a group of options is hidden.
std::string without_double_gaps(std::string text) {
  for (std::size_t at = 0; (at = text.find("\n\n\n", at)) != std::string::npos;) text.erase(at, 1);
  return text;
}

[[noreturn]] void refuse_option(const CLI::App& app, const std::string& command, const std::string& given) {
  std::vector<std::string> known;
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty())
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  const std::string near = base::nearest(given, known);
  throw ConfigError(command + ": unknown option '" + given + "'; " +
                    (near.empty() ? "known: " + base::join(known) : "did you mean '" + near + "'?"));
}

/// The first word that the parser did not know, an option before a stray argument.
void refuse_extras(const CLI::App& app, const std::string& command) {
  const std::vector<std::string> extras = app.remaining();
  const auto option =
      std::find_if(extras.begin(), extras.end(), [](const std::string& extra) { return extra.starts_with("-"); });
  if (option != extras.end()) refuse_option(app, command, option->substr(0, option->find('=')));
  if (!extras.empty()) refuse(command, "unexpected argument '" + extras.front() + "'");
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.empty()) throw ConfigError("give a command; `decant --help` lists them");
  if (first == "--help" || first == "-h") {
    line.help = overview();
    return line;
  }
  line.command = first;
  if (first == "--version") return line;
  const Command& command = find_command(first);
  CLI::App app{std::string(command.summary) + ".", "decant " + first};
  app.get_formatter()->column_width(36);
  app.allow_extras();
  app.footer("Example:\n  " + std::string(command.example));
  command.declare(app, line);
  try {
    // CLI11 takes the words from the back.
    app.parse(std::vector<std::string>(std::make_reverse_iterator(argv + argc), std::make_reverse_iterator(argv + 2)));
  } catch (const CLI::CallForHelp&) {
    line.help = without_double_gaps(app.help());
    return line;
  } catch (const CLI::ParseError& error) {
    throw ConfigError(first + ": " + error.what());
  }
  refuse_extras(app, first);
  command.check(line);
  return line;
}

}  // namespace decant::launch
