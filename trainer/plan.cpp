// --dry-run: what a run would do, from what is on disk; nothing is written.
#include <algorithm>

#include "base/files.h"
#include "data/label_store.h"
#include "trainer/labeller.h"
#include "trainer/pipeline.h"
#include "trainer/stage.h"
#include "trainer/sweep.h"
#include "trainer/teacher_chain.h"

namespace decant::trainer {
namespace {

/// Float32 values, gradient and both moments of AdamW, and a tile of logits a thread.
base::Json model_plan(const SideOptions& side, const Registries& registries, std::int64_t items,
                      std::int64_t teacher_width) {
  models::ModelContext context{items, 0, teacher_width};
  const auto trained = registries.models.make(side.model, context)->parameter_count().total();
  context.exported = true;
  const auto count = registries.models.make(side.model, context)->parameter_count();
  return {{"parameters", count.total()},
          {"parameters_table", count.table},
          {"weights_mib", count.total() * 4.0 / (1 << 20)},
          {"training_memory_mib", trained * 16.0 / (1 << 20)}};
}

/// A set's size, and the time that one block of an untrained teacher takes, times all blocks.
base::Json labels_plan(const JobOptions& job, const LabelSetOptions& set, const Registries& registries,
                       const data::Dataset& dataset, int ranks) {
  const auto teacher =
      registries.models.make(find_teacher(job, set.teacher)->model, models::ModelContext{dataset.info().items, 0, -1});
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

base::Json status_of(const fs::path& folder) {
  const auto record = read_stage(folder);
  if (!record) return "absent";
  return record->done ? "done (kept if its key still fits)" : "begun (continues if its key still fits)";
}

}  // namespace

base::Json Pipeline::plan(JobOptions& job, const Registries& registries, int ranks) {
  job.check();
  const fs::path run(job.run.folder);
  const auto settings = static_cast<std::int64_t>(check_sweep(job, registries));
  const fs::path folder = job.data.dataset.empty() ? run / "dataset" : fs::path(job.data.dataset);
  base::Json out{{"run", job.run.folder}, {"ranks", ranks}};
  for (const auto& stage : stages_in_order(job, registries))
    out["stages"][stage] = status_of(stage == "dataset" ? folder : run / stage);
  if (!job.sweep.keys.empty() || job.sweep.seeds > 1)
    out["sweep"] = {{"settings", settings}, {"seeds", job.sweep.seeds}, {"finalists", job.sweep.finalists}};
  if (!fs::exists(folder / "manifest.json")) {
    out["dataset"] = "not imported yet: sizes are known after 'decant import'";
    return out;
  }
  const data::Dataset dataset(folder, static_cast<std::size_t>(job.data.cache_mib) << 20);
  const auto& info = dataset.info();
  out["dataset"] = {{"rows", info.rows}, {"items", info.items}, {"events", info.events}};
  out["teacher"] = model_plan(job.teacher, registries, info.items, -1);
  for (const auto& [name, side] : job.teachers) out["teachers"][name] = model_plan(*side, registries, info.items, -1);
  out["student"] = model_plan(job.student, registries, info.items, teacher_width(job, registries));
  const auto length = registries.models.make(job.teacher.model, models::ModelContext{info.items, 0})->max_length();
  for (const auto& name : made_sets(job, registries))
    out["labels"][name] = labels_plan(job, *job.labels.find(name), registries, dataset, ranks);
  const data::Sampler sampler(dataset, job.batch, length, static_cast<std::uint64_t>(job.run.seed));
  out["steps_an_epoch"] = sampler.steps(0);
  return out;
}

}  // namespace decant::trainer
