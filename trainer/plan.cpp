// --dry-run: what a run would do, from what is on disk; nothing is written.
#include <algorithm>

#include "data/label_store.h"
#include "trainer/pipeline.h"
#include "trainer/stage.h"
#include "trainer/sweep.h"

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
  for (const char* stage : {"dataset", "teacher", "labels", "student", "control"})
    out["stages"][stage] = status_of(std::string(stage) == "dataset" ? folder : run / stage);
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
  out["student"] = model_plan(job.student, registries, info.items, teacher_width(job, registries));
  const auto length = registries.models.make(job.teacher.model, models::ModelContext{info.items, 0})->max_length();
  data::LabelSpec spec;
  spec.k = std::min(job.labels.k, info.items);
  spec.temperatures = job.labels.temperatures;
  const auto positions = data::training_targets(dataset, length);
  out["labels"] = {{"positions", positions},
                   {"bytes_a_position", data::label_bytes_per_target(spec)},
                   {"bytes", positions * data::label_bytes_per_target(spec)}};
  const data::Sampler sampler(dataset, job.batch, length, static_cast<std::uint64_t>(job.run.seed));
  out["steps_an_epoch"] = sampler.steps(0);
  return out;
}

}  // namespace decant::trainer
