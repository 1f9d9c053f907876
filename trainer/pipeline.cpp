#include "trainer/pipeline.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/files.h"
#include "base/random.h"
#include "data/import_text.h"
#include "models/logical_tensor.h"
#include "models/ready_model.h"
#include "trainer/errors.h"
#include "trainer/gate.h"
#include "trainer/import_ranks.h"
#include "trainer/labeller.h"
#include "trainer/loss_stages.h"
#include "trainer/report_html.h"
#include "trainer/segments.h"
#include "trainer/teacher_chain.h"
#include "trainer/train.h"
#include "trainer/workspace.h"

namespace decant::trainer {

struct Pipeline::Impl {
  Impl(JobOptions& job, const Registries& registries, Context& context, StagePool shared)
      : space(job, registries, context), run_context(context), pool(std::move(shared)) {
    job.check();
  }

  /// True when the stage is to be run; all ranks get the leader's answer.
  bool begin(const std::string& stage, const std::string& key) {
    std::string answer;
    if (run_context.leads()) {
      pool.link(space.folder(stage), stage, key);
      answer = stage_done(space.folder(stage), key) ? "skip" : "run";
      if (answer == "run") begin_stage(space.folder(stage), key);
    }
    leave_when_stopped(stage);
    const std::string mine = key + (stage == "dataset" ? "" : ", " + data_text());
    const auto told = run_context.communicator.broadcast_bytes(answer + " " + mine, 0);
    answer = told.substr(0, told.find(' '));
    if (const auto theirs = told.substr(answer.size() + 1); theirs != mine)
      throw base::ConfigError("stage '" + stage + "' has key " + mine + " here, and " + theirs +
                              " on rank 0: do all ranks see the same run folder and dataset?");
    if (answer == "skip") run_context.progress.say(stage + ": as before, nothing to do");
    return answer == "run";
  }

  /// What every stage works on; ranks that differ in it would wait for each other in vain.
  [[nodiscard]] std::string data_text() {
    const auto& info = space.dataset().info();
    return "catalogue " + info.catalogue_hash + " of " + std::to_string(info.items) + " items, events " +
           info.content_hash + " of " + std::to_string(info.rows) + " rows";
  }

  void end(const std::string& stage, const std::string& key, const base::Json& result) {
    if (run_context.leads()) {
      finish_stage(space.folder(stage), key, result);
      pool.keep(space.folder(stage), stage, key);
    }
    run_context.communicator.rendezvous();
  }

  /// All ranks leave together when a signal has come to any of them.
  void leave_when_stopped(const std::string& stage) {
    std::vector<std::int64_t> stop(1, run_context.stop_requested ? 1 : 0);
    run_context.communicator.all_reduce_host(stop, dist::Reduce::kMax);
    if (stop[0] > 0)
      throw Stopped("stopped by a signal at stage '" + stage + "'; run the same command again to continue");
  }

  /// The ranks share the reading, the leader writes. A wish to stop leaves it unfinished, and what there is is not yet a
  /// dataset.
  void import_files(const std::string& key) {
    run_context.progress.start("import", 0, 100);
    try {
      const auto progress = [&](auto done, auto total) {
        if (run_context.stop_requested) throw data::ImportStopped();
        run_context.progress.update(total > 0 ? done * 100 / total : 100, "");
      };
      const auto at = [&](const char* point) { run_context.faults.at(point, 0); };
      const auto summary = data::import_dataset(space.job.data.import, space.folder("dataset"), progress, at,
                                                import_ranks(run_context.communicator));
      if (!run_context.leads()) return;
      at("import-record");
      finish_stage(space.folder("dataset"), key, summary.to_json());
      run_context.progress.finish("import done\n" + data::import_text(space.folder("dataset")));
      run_context.log.line("import " + summary.to_json().dump());
    } catch (const data::ImportStopped&) {
      run_context.progress.leave();
    }
  }

  /// Before hours go into anything: sets made elsewhere must be of this dataset and window, which opening them checks.
  void check_sets_made_elsewhere() {
    const auto check = [&](const std::string& set, std::int64_t window) {
      if (!space.job.labels.find(set)->folder.empty())
        static_cast<void>(data::LabelSet(space.set_folder(set), space.dataset(), window));
    };
    for (const auto& set : space.used_sets()) check(set, student_window());
    for (const auto& name : teachers_in_order(space.job, space.registries))
      for (const auto& set : sets_of(name)) check(set, window_of(space.teacher_side(name)));
  }

  /// Label sets that a teacher learns from.
  [[nodiscard]] std::vector<std::string> sets_of(const std::string& teacher) const {
    const auto sets = sets_of_teacher(space.job, space.registries, teacher);
    return {sets.begin(), sets.end()};
  }

  [[nodiscard]] std::int64_t window_of(const TeacherSide& side) {
    return space.make_model(side.options, side.salt)->max_length();
  }

  /// Before a student is trained on them: the labels must be those of this job's teacher and options.
  void check_labels() {
    const auto used = space.used_sets();
    if (used.empty() || stage_done(space.folder("student"), space.student_key(true))) return;
    check_sets_made_elsewhere();
    for (const auto& set : used) {
      if (!space.job.labels.find(set)->folder.empty()) continue;
      const auto folder = space.folder("labels/" + set);
      const auto record = read_stage(folder);
      if (!record || !record->done || record->key != space.labels_key(set))
        throw base::FileError(folder.string(),
                              "holds no finished labels of this job's teacher and options: run 'decant label' first");
    }
  }

  /// What losses need of the catalogue, which is known once there is a dataset.
  void check_catalogue(const std::map<std::string, base::KindOptions>& kinds) {
    for (const auto& named : space.make_losses(kinds, true)) {
      const auto needs = named.loss->needs();
      if (needs.labels && space.dataset().info().items < needs.least_k)
        throw base::ConfigError("loss '" + named.name + "' needs labels of at least " + std::to_string(needs.least_k) +
                                " items, and the catalogue has " + std::to_string(space.dataset().info().items));
    }
  }
  void check_catalogue() {
    for (const auto* kinds : student_losses(space.job)) check_catalogue(*kinds);
  }

  [[nodiscard]] std::int64_t student_window() {
    return space.make_model(space.job.student, kStudentSalt)->max_length();
  }

  void train_side(const SideTraining& training) { end(training.stage, training.key, train_in_stages(space, training)); }

  void take_teacher(const TeacherSide& side, const std::string& key) {
    if (run_context.leads()) {
      const auto folder = space.folder(side.stage);
      base::write_file(weights_path(folder), base::read_file(side.options.weights));
      const auto model = space.load_model(side.options, side.stage);  // refuses what does not fit
      finish_stage(folder, key,
                   {{"taken_from", fs::path(side.options.weights).filename().string()},
                    {"weights_hash", models::hash_weights(weights_path(folder))}});
      pool.keep(folder, side.stage, key);
    }
    run_context.communicator.rendezvous();
  }

  [[nodiscard]] static std::string ready_file(const TeacherSide& side) {
    return models::ready_file(side.options.model.options.get());
  }

  [[nodiscard]] std::shared_ptr<models::SequenceModel> make_ready(const TeacherSide& side) {
    try {
      return space.make_model(side.options, side.salt);
    } catch (const base::ConfigError& error) {
      auto key = side.stage;
      std::replace(key.begin(), key.end(), '/', '.');
      throw base::ConfigError("'" + key + ".model': " + error.what());
    }
  }

  /// A teacher that comes whole from a file. What it weighs is in that file; the table is saved for those that read it.
  void take_ready(const TeacherSide& side, const std::string& key) {
    const auto model = make_ready(side);
    if (run_context.leads()) {
      const auto folder = space.folder(side.stage);
      auto metadata = model->spec();
      metadata["stage"] = "teacher";
      metadata["catalogue_hash"] = space.dataset().info().catalogue_hash;
      models::save_weights(weights_path(folder), model->weights(), metadata);
      finish_stage(
          folder, key,
          {{"taken_from", fs::path(ready_file(side)).filename().string()}, {"weights_hash", metadata["script"]}});
      pool.keep(folder, side.stage, key);
    }
    run_context.communicator.rendezvous();
  }

  /// Files of teachers must fit the catalogue, which is told before any of them is trained.
  void check_ready_teachers() {
    for (const auto& name : teachers_in_order(space.job, space.registries))
      if (const auto side = space.teacher_side(name); !ready_file(side).empty()) static_cast<void>(make_ready(side));
  }

  /// Trains or takes a teacher. Those whose labels it learns from pass their gates, and label, before.
  void make_teacher(const std::string& name) {
    const auto side = space.teacher_side(name);
    const auto sets = sets_of(name);
    for (const auto& set : sets)
      if (const auto& options = *space.job.labels.find(set); options.folder.empty()) {
        pass_gate(options.teacher);
        make_fold_teachers(options);
        make_set(set, options);
      }
    const auto key = space.teacher_key(name);
    if (!begin(side.stage, key)) return;
    if (!ready_file(side).empty()) return take_ready(side, key);
    if (!side.options.weights.empty()) return take_teacher(side, key);
    check_catalogue(side.options.losses);
    const auto labels = space.open_labels(sets, window_of(side));
    train_side({side.stage,
                key,
                side.options,
                {only_stage(side.options.losses, side.options.train)},
                labels.get(),
                side.salt,
                false,
                side.left_out});
  }

  /// The teachers that learn from others' labels, or those that do not.
  void make_teachers(bool from_labels) {
    for (const auto& name : teachers_in_order(space.job, space.registries))
      if (sets_of(name).empty() != from_labels) make_teacher(name);
  }

  /// Those that label a set, each without a fold; none where the teacher itself does.
  void make_fold_teachers(const LabelSetOptions& set) {
    if (set.folds > 0)
      for (const auto& name : teachers_of_set(set)) make_teacher(name);
  }
  void make_fold_teachers() {
    for (const auto& name : made_sets(space.job, space.registries)) make_fold_teachers(*space.job.labels.find(name));
  }

  void make_set(const std::string& name, const LabelSetOptions& set) {
    if (!made.insert(name).second) return;  // by this run, for a teacher
    const std::string stage = "labels/" + name, key = space.labels_key(name);
    if (!begin(stage, key)) return;
    const auto teachers = space.label_teachers(name);
    const auto spec = space.label_spec(name, *teachers.models.front());
    const auto result =
        label_dataset(teachers, *set.make_kind(), space.dataset(), spec, space.folder(stage), run_context);
    base::Json record = {{"kind", spec.kind},
                         {"teacher", spec.teacher},
                         {"positions", result.positions},
                         {"bytes", result.bytes},
                         {"reused_rows", result.reused_rows},
                         {"estimated_seconds", result.estimated_seconds},
                         {"positions_per_second",
                          result.positions_per_second > 0 ? base::Json(result.positions_per_second) : base::Json()}};
    record.update(spec.options);
    if (set.folds > 0) record["folds"] = set.folds;
    end(stage, key, record);
  }

  /// Once a run.
  void pass_gate(const std::string& teacher) {
    if (passed.insert(teacher).second) pass_teacher_gate(space, teacher);
  }

  /// Before a student is trained: those that it has anything of.
  void pass_gates() {
    for (const auto& teacher : space.asked_teachers()) pass_gate(teacher);
  }

  Workspace space;
  Context& run_context;
  StagePool pool;
  std::set<std::string> made, passed;  // by this run: label sets, and the gates of teachers
};

Pipeline::Pipeline(JobOptions& job, const Registries& registries, Context& context, StagePool pool)
    : impl_(std::make_unique<Impl>(job, registries, context, std::move(pool))) {}
Pipeline::~Pipeline() = default;

void Pipeline::import() {
  auto& space = impl_->space;
  if (!space.job.data.dataset.empty()) return;
  space.context.metrics.set_stage("import");
  space.context.communicator.stand_at("import", -1);
  std::string key = space.context.leads() ? data::import_key(space.job.data.import) : "";
  space.context.communicator.rendezvous();  // the key is a hash of all input files
  key = space.context.communicator.broadcast_bytes(key, 0);
  if (!impl_->begin("dataset", key)) return;
  impl_->import_files(key);
  space.context.communicator.rendezvous();
  impl_->leave_when_stopped("dataset");
  space.close_dataset();
}

void Pipeline::train_teacher() {
  impl_->check_ready_teachers();
  impl_->make_teachers(false);
  impl_->make_teachers(true);
  impl_->make_fold_teachers();
}

void Pipeline::label() {
  auto& space = impl_->space;
  const auto sets = made_sets(space.job, space.registries);
  std::set<std::string> teachers;
  for (const auto& name : sets) teachers.insert(space.job.labels.find(name)->teacher);
  for (const auto& teacher : teachers) impl_->pass_gate(teacher);
  for (const auto& name : sets) impl_->make_set(name, *space.job.labels.find(name));
}

void Pipeline::train_control() {
  auto& space = impl_->space;
  impl_->check_catalogue();
  const auto key = space.student_key(false);
  if (impl_->begin("control", key))
    impl_->train_side({"control", key, space.job.student, space.student_stages(false), nullptr, kStudentSalt});
}

void Pipeline::train_student() {
  auto& space = impl_->space;
  impl_->check_catalogue();
  impl_->check_labels();
  const auto student_key = space.student_key(true);
  if (impl_->begin("student", student_key)) {
    const auto labels = space.open_labels(space.used_sets(), impl_->student_window());
    impl_->train_side(
        {"student", student_key, space.job.student, space.student_stages(true), labels.get(), kStudentSalt, true});
  }
}

void Pipeline::distill() {
  impl_->check_labels();  // before hours go into the control
  train_control();
  impl_->pass_gates();
  train_student();
}

namespace {

void write_report(const Workspace& space, std::string_view text) {
  const auto at = [&](const char* point) { space.context.faults.at(point, 0); };
  at("report");
  base::FileWriter file(fs::path(space.job.run.folder) / "report.json");
  file.append(text.substr(0, text.size() / 2));
  at("report-write");
  file.append(text.substr(text.size() / 2));
  at("report-commit");
  file.commit();
}

}  // namespace

void Pipeline::evaluate() {
  auto& space = impl_->space;
  space.context.metrics.set_stage("evaluate");
  space.context.communicator.stand_at("evaluate", -1);
  const auto report = build_report(space);
  if (space.context.leads()) {
    write_report(space, report.dump(2) + "\n");
    write_report_html(space.job.run.folder, report);
    space.context.progress.finish("");
    space.context.progress.say(format_report(report));
    if (space.job.evaluate.print_segments) space.context.progress.say(format_segments(report.at("segments")));
  }
  space.context.communicator.barrier();
}

void Pipeline::run() {
  import();
  impl_->check_sets_made_elsewhere();
  impl_->check_ready_teachers();
  impl_->make_teachers(false);
  train_control();  // before the labels: it is one of those a teacher must beat
  impl_->make_teachers(true);
  impl_->pass_gates();
  if (impl_->space.needs_labels()) {
    impl_->make_fold_teachers();
    label();
  }
  train_student();
  evaluate();
}

}  // namespace decant::trainer
