#include "trainer/sweep.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <optional>

#include "base/files.h"
#include "trainer/compare.h"
#include "trainer/errors.h"
#include "trainer/pipeline.h"
#include "trainer/side_evaluation.h"

namespace decant::trainer {
namespace {

constexpr const char* kFormat = "decant-sweep";
constexpr int kVersion = 1;

/// What one setting came to under one seed.
struct Trial {
  std::string status = "done";  // "done", or why there is no student
  std::optional<double> student, control;
  std::string control_key;
};

/// A job of its own, with the setting's values in it.
std::unique_ptr<JobOptions> job_of(const base::Json& resolved, const Setting& setting, const Registries& registries) {
  base::Json tree = resolved;
  tree.erase("sweep");
  apply(setting, tree);
  auto job = std::make_unique<JobOptions>(registries);
  try {
    base::read_options(tree, *job);
    job->check();
  } catch (const base::ConfigError& error) {
    throw base::ConfigError("'sweep.keys': the setting " + text_of(setting) + " is no job: " + error.what());
  }
  return job;
}

/// Mean and deviation (n - 1).
std::pair<double, double> spread(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1)) : 0};
}

class Sweep {
 public:
  Sweep(JobOptions& job, const Registries& registries, Context& context)
      : job_(job),
        registries_(registries),
        context_(context),
        resolved_(base::write_options(job)),
        folder_(job.run.folder),
        pool_(folder_ / "pool"),
        settings_(settings_of(job.sweep, static_cast<std::uint64_t>(job.run.seed))) {
    for (std::int64_t s = 0; s < job.sweep.seeds; ++s) seeds_.push_back(job.run.seed + s);
    resolved_["run"]["teacher_seed"] = job.run.teacher_seed < 0 ? job.run.seed : job.run.teacher_seed;
  }

  void run() {
    Pipeline(job_, registries_, context_).import();
    if (job_.data.dataset.empty()) resolved_["data"]["dataset"] = (folder_ / "dataset").string();
    const bool all = job_.sweep.finalists == 0;
    for (std::size_t i = 0; i < settings_.size(); ++i)
      for (std::size_t s = 0; s < (all ? seeds_.size() : 1); ++s) try_setting(i, s, true, true);
    if (!all && seeds_.size() > 1) {
      for (const auto i : best(false, 0)) rerun(i, true, false);
      for (const auto i : best(true, 0)) rerun(i, false, true);
    }
    finish();
  }

 private:
  /// Settings of a side that have a value under seed `s`, best first, as many as go on.
  [[nodiscard]] std::vector<std::size_t> best(bool control, std::size_t s) const {
    std::vector<std::pair<double, std::size_t>> found;
    for (const auto i : distinct(control))
      if (const auto at = trials_.find({i, s}); at != trials_.end())
        if (const auto& value = control ? at->second.control : at->second.student) found.emplace_back(-*value, i);
    std::sort(found.begin(), found.end());
    found.resize(std::min(found.size(), static_cast<std::size_t>(job_.sweep.finalists)));
    std::vector<std::size_t> out;
    for (const auto& [value, i] : found) out.push_back(i);
    return out;
  }

  /// Every setting of the student; of the control the first of those that are the same control.
  [[nodiscard]] std::vector<std::size_t> distinct(bool control) const {
    std::vector<std::size_t> out;
    std::map<std::string, std::size_t> keys;
    for (std::size_t i = 0; i < settings_.size(); ++i) {
      if (!control) {
        out.push_back(i);
      } else if (const auto at = trials_.find({i, 0}); at != trials_.end() && !at->second.control_key.empty()) {
        if (keys.emplace(at->second.control_key, i).second) out.push_back(i);
      }
    }
    return out;
  }

  void rerun(std::size_t setting, bool student, bool control) {
    for (std::size_t s = 1; s < seeds_.size(); ++s) try_setting(setting, s, student, control);
  }

  [[nodiscard]] fs::path trial_folder(std::size_t setting, std::size_t s) const {
    char name[48];
    std::snprintf(name, sizeof name, "%03zu-s%lld", setting, static_cast<long long>(seeds_[s]));
    return folder_ / "trials" / name;
  }

  [[nodiscard]] std::unique_ptr<JobOptions> trial_job(std::size_t setting, std::size_t s) const {
    auto tree = resolved_;
    tree["run"]["seed"] = seeds_[s];
    tree["run"]["folder"] = trial_folder(setting, s).string();
    return job_of(tree, settings_[setting], registries_);
  }

  void try_setting(std::size_t setting, std::size_t s, bool student, bool control) {
    context_.progress.say("sweep: setting " + std::to_string(setting + 1) + " of " + std::to_string(settings_.size()) +
                          " (" + text_of(settings_[setting]) + "), seed " + std::to_string(seeds_[s]));
    const auto job = trial_job(setting, s);
    Trial& trial = trials_[{setting, s}];
    Pipeline pipeline(*job, registries_, context_, pool_);
    pipeline.train_teacher();
    if (control) {
      pipeline.train_control();
      trial.control = value_of(*job, "control", &trial.control_key);
    }
    try {
      if (student && Workspace(*job, registries_, context_).needs_labels()) pipeline.label();
      if (student) {
        pipeline.train_student();
        trial.student = value_of(*job, "student", nullptr);
      }
    } catch (const GateError& error) {
      trial.status = error.what();
      context_.progress.say(std::string("gate: ") + error.what());
    }
    save({});
  }

  /// The best value on valid that a stage has left; the same on all ranks.
  double value_of(const JobOptions& job, const std::string& stage, std::string* key) {
    std::string text;
    if (context_.leads()) {
      const auto record = read_stage(fs::path(job.run.folder) / stage);
      text = base::Json{{"key", record.value().key}, {"value", record.value().result.at("best_value")}}.dump();
    }
    const auto found = base::Json::parse(context_.communicator.broadcast_bytes(text, 0));
    if (key != nullptr) *key = found.at("key");
    return found.at("value");
  }

  /// Values of a side under all seeds, or fewer where it was not run.
  [[nodiscard]] std::vector<double> values(std::size_t setting, bool control) const {
    std::vector<double> out;
    for (std::size_t s = 0; s < seeds_.size(); ++s)
      if (const auto at = trials_.find({setting, s}); at != trials_.end())
        if (const auto& value = control ? at->second.control : at->second.student) out.push_back(*value);
    return out;
  }

  /// The setting with the best mean over all seeds.
  [[nodiscard]] std::optional<std::size_t> chosen(bool control) const {
    std::optional<std::size_t> out;
    double most = 0;
    for (const auto i : distinct(control)) {
      const auto found = values(i, control);
      if (found.size() != seeds_.size()) continue;
      if (const double mean = spread(found).first; !out || mean > most) out = i, most = mean;
    }
    return out;
  }

  void finish() {
    const auto student = chosen(false), control = chosen(true);
    if (!student || !control)
      throw GateError("no setting of the sweep has a student: " + trials_.begin()->second.status);
    std::vector<std::pair<std::string, SeedRanks>> sides{{"teacher", {}}, {"student", {}}, {"control", {}}};
    const auto first = trial_job(*student, 0);
    if (Workspace space(*first, registries_, context_); space.needs_labels())
      sides[0].second.push_back(ranks(*first, "teacher", first->teacher));
    else
      sides.erase(sides.begin());
    for (std::size_t s = 0; s < seeds_.size(); ++s) {
      const auto of_student = trial_job(*student, s), of_control = trial_job(*control, s);
      side_in(sides, "student").push_back(ranks(*of_student, "student", of_student->student));
      side_in(sides, "control").push_back(ranks(*of_control, "control", of_control->student));
    }
    for (const auto& [name, kind] :
         {std::pair("popularity", Baseline::kPopularity), {"transitions", Baseline::kTransitions}}) {
      Workspace space(*first, registries_, context_);
      static_cast<void>(evaluate_side(kind, name, space));
      if (context_.leads()) sides.push_back({name, {data::read_ranks(ranks_path(first->run.folder, name))}});
    }
    base::Json comparisons;
    if (context_.leads()) comparisons = compare(sides);
    save({{"student", *student}, {"control", *control}, {"comparisons", comparisons}});
    context_.progress.finish("");
    if (context_.leads()) context_.progress.say(format_sweep(tree_));
    context_.communicator.rendezvous();  // the leader's bootstrap takes as long as it takes
  }

  static SeedRanks& side_in(std::vector<std::pair<std::string, SeedRanks>>& sides, const std::string& name) {
    return std::find_if(sides.begin(), sides.end(), [&](const auto& side) { return side.first == name; })->second;
  }

  [[nodiscard]] base::Json compare(const std::vector<std::pair<std::string, SeedRanks>>& sides) const {
    base::Json out = base::Json::array();
    CompareOptions options;
    options.metric = job_.student.train.select;
    for (const auto& [split, unseen] : {std::pair("valid", false), {"test", false}, {"test", true}}) {
      options.split = split;
      options.unseen = unseen;
      out.push_back(compare_sides(sides, options, context_.threads));
    }
    return out;
  }

  /// A side's ranks on the leading rank, evaluated unless its file is of these weights.
  data::RankFile ranks(JobOptions& job, const std::string& side, const SideOptions& options) {
    const auto path = ranks_path(job.run.folder, side);
    Workspace space(job, registries_, context_);
    std::string there;
    if (context_.leads() && fs::exists(path)) {
      const auto file = data::read_ranks(path);
      const auto record = read_stage(space.folder(side));
      const bool same = record && file.weights_hash == record->result.value("weights_hash", "") &&
                        file.content_hash == space.dataset().info().content_hash;
      there = same ? "there" : "";
    }
    if (context_.communicator.broadcast_bytes(there, 0).empty())
      static_cast<void>(evaluate_side(*space.load_model(options, side), side, space));
    return context_.leads() ? data::read_ranks(path) : data::RankFile{};
  }

  void save(const base::Json& result) {
    if (!context_.leads()) return;
    base::Json settings = base::Json::array();
    const auto of_control = distinct(true);
    for (std::size_t i = 0; i < settings_.size(); ++i) {
      base::Json entry{{"values", base::Json::object()}};
      for (const auto& [key, value] : settings_[i]) entry["values"][key] = value;
      entry["text"] = text_of(settings_[i]);
      for (const bool control : {false, true}) {
        const char* side = control ? "control" : "student";
        entry[side] = nullptr;
        if (control && std::find(of_control.begin(), of_control.end(), i) == of_control.end()) continue;
        const auto found = values(i, control);
        if (found.empty()) continue;
        const auto [mean, deviation] = spread(found);
        entry[side] = {{"by_seed", found}, {"mean", mean}, {"deviation", deviation}};
      }
      const auto at = trials_.find({i, 0});
      entry["status"] = at == trials_.end() ? "to do" : at->second.status;
      settings.push_back(std::move(entry));
    }
    tree_ = {{"metric", job_.student.train.select},
             {"search", job_.sweep.search},
             {"seeds", seeds_},
             {"teacher_seed", resolved_["run"]["teacher_seed"]},
             {"student_settings", settings_.size()},
             {"control_settings", of_control.size()},
             {"settings", std::move(settings)},
             {"chosen", nullptr},
             {"comparisons", nullptr}};
    if (!result.is_null() && result.contains("student")) {
      tree_["chosen"] = {{"student", result.at("student")}, {"control", result.at("control")}};
      tree_["comparisons"] = result.at("comparisons");
    }
    base::save_document(folder_ / "sweep.json", kFormat, kVersion, tree_);
  }

  JobOptions& job_;
  const Registries& registries_;
  Context& context_;
  base::Json resolved_, tree_;
  fs::path folder_;
  StagePool pool_;
  std::vector<Setting> settings_;
  std::vector<std::int64_t> seeds_;
  std::map<std::pair<std::size_t, std::size_t>, Trial> trials_;  // by setting and seed
};

}  // namespace

std::size_t check_sweep(JobOptions& job, const Registries& registries) {
  const auto resolved = base::write_options(job);
  const auto settings = settings_of(job.sweep, static_cast<std::uint64_t>(job.run.seed));
  for (const auto& setting : settings) static_cast<void>(job_of(resolved, setting, registries));
  return settings.size();
}

void run_sweep(JobOptions& job, const Registries& registries, Context& context) {
  static_cast<void>(check_sweep(job, registries));
  Sweep(job, registries, context).run();
}

}  // namespace decant::trainer
