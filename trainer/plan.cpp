// --dry-run: what a run would do, from what is on disk; nothing is written.
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/files.h"
#include "data/label_store.h"
#include "trainer/errors.h"
#include "trainer/labeller.h"
#include "trainer/pipeline.h"
#include "trainer/stage.h"
#include "trainer/sweep.h"
#include "trainer/teacher_chain.h"
#include "trainer/workspace.h"

namespace decant::trainer {
namespace {

constexpr double kMib = 1 << 20;

/// Float32 values, gradient and both moments of AdamW of what is trained.
/// A table that is sharded lies on all ranks together.
base::Json model_plan(const SideOptions& side, const Registries& registries, std::int64_t items,
                      std::int64_t teacher_width, int shards, const models::InputColumnMap& columns) {
  models::ModelContext context{items, 0, teacher_width};
  context.columns = &columns;
  const auto whole = registries.models.make(side.model, context)->parameter_count();
  const auto trained = whole.encoder + whole.table / shards;
  context.exported = true;
  const auto count = registries.models.make(side.model, context)->parameter_count();
  return {{"parameters", count.total()},
          {"parameters_table", count.table},
          {"weights_mib", count.total() * 4.0 / kMib},
          {"training_memory_mib", trained * 16.0 / kMib}};
}

/// A set's size, and the time that one block of an untrained teacher takes, times all blocks.
base::Json labels_plan(const JobOptions& job, const LabelSetOptions& set, const Registries& registries,
                       Workspace& space, int ranks) {
  const auto& dataset = space.dataset();
  models::ModelContext context{dataset.info().items, 0, -1};
  context.columns = &space.columns();
  const auto teacher = registries.models.make(find_teacher(job, set.teacher)->model, context);
  teacher->eval();
  const auto kind = set.make_kind();
  data::LabelSpec spec;
  spec.kind = set.kind;
  spec.max_length = teacher->max_length();
  spec.items = dataset.info().items;
  try {
    spec.columns = kind->columns(label_shape(*teacher, *kind, dataset, set.values()));
  } catch (const base::Error& error) {  // ids of a set that is not there yet; dense above its limit
    return {{"kind", set.kind}, {"not known", error.what()}};
  }
  const auto positions = data::training_targets(dataset, spec.max_length);
  const auto bytes = positions * data::label_bytes_per_target(spec);
  const int threads = job.run.threads > 0 ? static_cast<int>(job.run.threads) : 1;
  return {{"kind", set.kind},
          {"teacher", set.teacher},
          {"positions", positions},
          {"bytes_a_position", data::label_bytes_per_target(spec)},
          {"bytes", bytes},
          {"free_bytes", base::free_bytes(job.run.folder)},
          {"seconds", estimate_label_seconds(*teacher, *kind, dataset, spec, torch::kCPU, ranks * threads)}};
}

/// Tells what a run would do, as far as what is on disk says so. Nothing is written.
class Planner {
 public:
  Planner(JobOptions& job, const Registries& registries)
      : communicator_(dist::make_single_communicator(torch::kCPU)),
        metrics_("plan", 0),
        progress_(stderr, false),
        context_{*communicator_, metrics_, progress_, log_, faults_, stop_},
        space_(job, registries, context_) {}

  /// Of every stage in order: "run", "continue" or "skip", and why.
  base::Json stages() {
    base::Json out;
    for (const auto& stage : stages_in_order(space_.job, space_.registries)) out[stage] = state_of(stage);
    return out;
  }
  [[nodiscard]] bool has_dataset() const { return fs::exists(space_.dataset_folder() / "manifest.json"); }
  Workspace& space() { return space_; }

 private:
  std::string key_of(const std::string& stage) {
    if (stage == "dataset") return data::import_key(space_.job.data.import);
    if (stage == "control") return space_.student_key(false);
    if (stage == "student") return space_.student_key(true);
    const std::string name = stage.substr(stage.find('/') + 1);
    return stage.starts_with("labels/") ? space_.labels_key(name) : space_.teacher_key(name);
  }

  std::string state_of(const std::string& stage) {
    if (stage == "dataset" && !space_.job.data.dataset.empty()) return "skip (data.dataset)";
    const auto folder = space_.folder(stage);
    if (imports_) return "run (after the import)";
    std::string key;
    try {
      key = key_of(stage);
    } catch (const CheckpointError&) {  // a hash of a teacher's weights that are not there
      return "run (after its teacher)";
    }
    if (stage_done(folder, key)) return "skip (done)";
    imports_ = stage == "dataset";
    const auto record = read_stage(folder);
    if (!record) return "run";
    if (record->key == key) return record->done ? "run (its folder is gone)" : "continue (begun)";
    return "run (what is there is of other options, data or weights)";
  }

  std::unique_ptr<dist::Communicator> communicator_;
  monitoring::Metrics metrics_;
  monitoring::Progress progress_;
  monitoring::RankLog log_;
  FaultPlan faults_;
  std::atomic<bool> stop_{false};
  Context context_;
  Workspace space_;
  bool imports_ = false;
};

std::int64_t resident_bytes() {
  std::int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::int64_t bytes_below(const fs::path& folder) {
  std::int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file()) bytes += static_cast<std::int64_t>(entry.file_size());
  return bytes;
}

/// MiB a rank at most, but for the activations of a step. The caches fill as they are read.
base::Json memory_plan(const JobOptions& job, const base::Json& plan, const fs::path& dataset) {
  const auto cache = static_cast<double>(job.data.cache_mib);
  const auto sets = plan.value("labels", base::Json::object());
  double labels = 0;
  for (const auto& [name, set] : sets.items()) labels += set.value("bytes", 0.0) / kMib;
  return {{"program", static_cast<double>(resident_bytes()) / kMib},
          {"teacher", plan.at("teacher").at("training_memory_mib")},
          {"student", plan.at("student").at("training_memory_mib")},
          {"dataset_cache", std::min(cache, static_cast<double>(bytes_below(dataset)) / kMib)},
          {"label_cache", std::min(cache, labels)}};
}

}  // namespace

base::Json Pipeline::plan(JobOptions& job, const Registries& registries, int ranks) {
  job.check();
  const auto settings = static_cast<std::int64_t>(check_sweep(job, registries));
  Planner planner(job, registries);
  base::Json out{{"run", job.run.folder}, {"ranks", ranks}, {"stages", planner.stages()}};
  if (!job.sweep.keys.empty() || job.sweep.seeds > 1)
    out["sweep"] = {{"settings", settings}, {"seeds", job.sweep.seeds}, {"finalists", job.sweep.finalists}};
  if (!planner.has_dataset()) {
    out["dataset"] = "not imported yet: sizes are known after 'decant import'";
    return out;
  }
  const auto& dataset = planner.space().dataset();
  const auto& info = dataset.info();
  out["dataset"] = {{"rows", info.rows}, {"items", info.items}, {"events", info.events}};
  const auto shards = [&](const base::Json& side) { return std::max(1, table_shards(side, ranks)); };
  const auto& resolved = planner.space().resolved;
  const auto& columns = planner.space().columns();
  out["teacher"] = model_plan(job.teacher, registries, info.items, -1, shards(resolved.at("teacher")), columns);
  for (const auto& [name, side] : job.teachers)
    out["teachers"][name] =
        model_plan(*side, registries, info.items, -1, shards(resolved.at("teachers").at(name)), columns);
  out["student"] = model_plan(job.student, registries, info.items, teacher_width(job, registries),
                              shards(resolved.at("student")), columns);
  const auto length = registries.models.make(job.teacher.model, models::ModelContext{info.items, 0})->max_length();
  for (const auto& name : made_sets(job, registries))
    out["labels"][name] = labels_plan(job, *job.labels.find(name), registries, planner.space(), ranks);
  out["memory_a_rank_mib"] = memory_plan(job, out, planner.space().dataset_folder());
  const data::Sampler sampler(dataset, job.batch, length, static_cast<std::uint64_t>(job.run.seed));
  out["steps_an_epoch"] = sampler.steps(0);
  return out;
}

}  // namespace decant::trainer
