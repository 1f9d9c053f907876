#include "launch/run_list.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/errors.h"
#include "base/files.h"
#include "launch/job_file.h"
#include "trainer/stage.h"

namespace decant::launch {
namespace {

namespace fs = std::filesystem;
using base::Json;

constexpr std::array kSides{"teacher", "student", "control", "popularity", "transitions"};
constexpr std::array kStages{"student", "labels", "control", "teacher", "dataset"};  // the last one first

bool is_run(const fs::path& folder) { return fs::exists(folder / "job.yaml"); }

void find_runs(const fs::path& folder, std::vector<fs::path>& found) {
  if (is_run(folder) || fs::exists(folder / "report.json")) {  // a trial of a sweep has no job of its own
    found.push_back(folder);
    if (fs::is_directory(folder / "trials")) find_runs(folder / "trials", found);
    return;
  }
  std::vector<fs::path> below;
  for (const auto& entry : fs::directory_iterator(folder, fs::directory_options::skip_permission_denied))
    if (entry.is_directory() && !entry.is_symlink()) below.push_back(entry.path());
  std::sort(below.begin(), below.end());
  for (const auto& next : below) find_runs(next, found);
}

std::string state_of(const fs::path& folder) {
  for (const char* stage : kStages) {
    if (stage == std::string("labels")) {
      if (fs::is_directory(folder / "stages/labels")) return "labels";
    } else if (const auto record = trainer::read_stage(folder / stage)) {
      return std::string(stage) + (record->done ? "" : ", not finished");
    }
  }
  return "not begun";
}

/// Of report.json: the metric that chooses weights, on test.
Json figures_of(const fs::path& folder) {
  const fs::path path = folder / "report.json";
  const Json report = Json::parse(base::read_file(path), nullptr, /*allow_exceptions=*/false);
  try {
    const auto metric = report.at("segments").at("metric").get<std::string>();
    Json sides = Json::object();
    for (const char* side : kSides)
      if (const auto& entry = report.at(side); !entry.is_null())
        sides[side] = {{"test", entry.at("metrics").at("test").at(metric)}, {"parameters", entry.at("parameters")}};
    return {{"metric", metric}, {"seed", report.at("run").at("seed")}, {"sides", sides}};
  } catch (const Json::exception&) {
    throw base::FileError(path.string(), "is not a report of this decant; `decant evaluate` writes it anew");
  }
}

void flatten(const Json& tree, const std::string& prefix, std::map<std::string, Json>& out) {
  if (!tree.is_object() || tree.empty()) {
    out[prefix] = tree;
    return;
  }
  for (const auto& [key, value] : tree.items()) {
    std::string name = prefix;
    if (!name.empty()) name += '.';
    flatten(value, name += key, out);
  }
}

std::string figure(const Json& run, const char* side) {
  if (!run.contains("sides") || !run.at("sides").contains(side)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", run.at("sides").at(side).at("test").get<double>());
  return text;
}

std::string share(const Json& run, const char* of) {
  if (!run.contains("sides") || !run.at("sides").contains(of) || !run.at("sides").contains("student")) return "-";
  const double whole = run.at("sides").at(of).at("test").get<double>();
  if (whole <= 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f%%", 100 * run.at("sides").at("student").at("test").get<double>() / whole);
  return text;
}

}  // namespace

Json list_runs(const std::vector<std::string>& folders) {
  std::vector<fs::path> found;
  for (const auto& folder : folders) {
    if (!fs::is_directory(folder)) throw base::ConfigError("'" + folder + "' is not a folder");
    find_runs(folder, found);
  }
  if (found.empty()) throw base::ConfigError("no run folder (one with a job.yaml) in " + base::join(folders));
  Json runs = Json::array();
  for (const auto& folder : found) {
    Json run{{"run", folder.string()}, {"state", "evaluated"}};
    try {
      if (fs::exists(folder / "report.json"))
        run.update(figures_of(folder));
      else
        run["state"] = fs::exists(folder / "sweep.json") ? "sweep" : state_of(folder);
    } catch (const base::FileError& error) {  // the others are listed all the same
      run["state"] = "damaged";
      run["error"] = error.what();
    }
    runs.push_back(std::move(run));
  }
  return {{"runs", runs}};
}

std::string format_runs(const Json& runs) {
  std::ostringstream out;
  std::size_t width = 3;
  for (const auto& run : runs.at("runs")) width = std::max(width, run.at("run").get<std::string>().size());
  char line[256];
  const auto row = [&](const std::string& name, const std::array<std::string, 7>& cells) {
    std::snprintf(line, sizeof line, "  %-22s %-10s %8s %8s %8s %11s %11s\n", cells[0].c_str(), cells[1].c_str(),
                  cells[2].c_str(), cells[3].c_str(), cells[4].c_str(), cells[5].c_str(), cells[6].c_str());
    out << name << std::string(width - name.size(), ' ') << line;
  };
  row("run", {"state", "on test", "teacher", "student", "control", "of teacher", "of control"});
  for (const auto& run : runs.at("runs"))
    row(run.at("run"), {run.at("state").get<std::string>(), run.value("metric", "-"), figure(run, "teacher"),
                        figure(run, "student"), figure(run, "control"), share(run, "teacher"), share(run, "control")});
  return out.str();
}

Json job_differences(const std::vector<std::string>& folders) {
  std::vector<std::map<std::string, Json>> jobs;
  std::map<std::string, Json> keys;
  for (const auto& folder : folders) {
    if (!is_run(folder)) return Json::object();
    auto& job = jobs.emplace_back();
    flatten(JobFile::load(fs::path(folder) / "job.yaml").tree(), "", job);
    for (const auto& [key, value] : job) keys.emplace(key, nullptr);
  }
  Json out = Json::object();
  for (const auto& [key, unused] : keys) {
    if (key == "run.folder") continue;
    Json values = Json::array();
    for (const auto& job : jobs) values.push_back(job.contains(key) ? job.at(key) : Json());
    if (std::any_of(values.begin(), values.end(), [&](const auto& value) { return value != values.front(); }))
      out[key] = std::move(values);
  }
  return out;
}

bool seeds_of_one_job(const Json& differences) {
  const auto decides = [](const std::string& key, const Json& values) {
    for (const char* start : {"run.", "monitoring.", "data.dataset", "data.cache_mib"})
      if (key.starts_with(start)) return false;
    for (const char* part : {".train.checkpoint_", ".train.non_finite", ".table.shards"})
      if (key.find(part) != std::string::npos) return false;
    // A key that one of them has not is of a newer decant, or of another kind of model or loss, which differs itself.
    return std::none_of(values.begin(), values.end(), [](const auto& value) { return value.is_null(); }) ||
           key.starts_with("losses.");
  };
  for (const auto& [key, values] : differences.items())
    if (decides(key, values)) return false;
  return true;
}

std::string format_differences(const Json& differences) {
  std::string out;
  for (const auto& [key, values] : differences.items()) {
    out += (out.empty() ? "The jobs differ in\n  " : "  ") + key + ":";
    const char* between = " ";
    for (const auto& value : values) {
      out += between + (value.is_string() ? value.get<std::string>() : value.is_null() ? "-" : value.dump());
      between = " | ";
    }
    out += "\n";
  }
  return out;
}

}  // namespace decant::launch
