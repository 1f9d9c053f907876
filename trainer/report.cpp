// report.json (docs/report.md).
#include <cstdio>

#include "base/files.h"
#include "trainer/bench.h"
#include "trainer/errors.h"
#include "trainer/side_evaluation.h"
#include "trainer/workspace.h"

namespace decant::trainer {
namespace {

base::Json metrics_json(const Evaluation& valid, const Evaluation& test) {
  return {{"valid", valid.all.metrics()},
          {"valid_unseen", valid.unseen.metrics()},
          {"test", test.all.metrics()},
          {"test_unseen", test.unseen.metrics()}};
}

base::Json cold_json(const Evaluation& valid, const Evaluation& test) {
  return {{"valid", valid.cold_targets},
          {"test", test.cold_targets},
          {"valid_targets", valid.all.total()},
          {"test_targets", test.all.total()}};
}

base::Json bins_json(const std::vector<CalibrationBin>& bins) {
  base::Json out = base::Json::array();
  for (const auto& bin : bins)
    out.push_back({{"targets", bin.targets}, {"expected", bin.expected}, {"found", bin.found}});
  return out;
}

base::Json calibration_json(models::SequenceModel& model, Workspace& space) {
  const auto found = measure_calibration(model, space.dataset(), space.job.evaluate.calibration_bins, space.context);
  return {{"valid_nll", found.nll},
          {"valid_top1_error", found.top1_error},
          {"valid_target_error", found.target_error},
          {"valid_top1_bins", bins_json(found.top1_bins)},
          {"valid_target_bins", bins_json(found.target_bins)}};
}

/// The record of a side's training, with null for what it does not say (a teacher that was taken, a baseline).
base::Json train_json(base::Json record) {
  for (const char* key : {"sequences_per_second", "data_wait_share", "steps", "epochs", "best_step", "best_epoch",
                          "best_value", "stopped_by", "curve", "weights_hash"})
    if (!record.contains(key)) record[key] = nullptr;
  return record;
}

/// A side that is a model: what it is, how it was trained, how it ranks.
base::Json model_json(models::SequenceModel& model, const std::string& stage, Workspace& space, SideRecords& records) {
  auto found = evaluate_side(model, stage, space);
  records = std::move(found.records);
  const auto count = model.parameter_count();
  const auto record = read_stage(space.folder(stage));
  return {{"parameters", count.total()},
          {"parameters_table", count.table},
          {"parameters_encoder", count.encoder},
          {"bytes", fs::file_size(weights_path(space.folder(stage)))},
          {"metrics", metrics_json(found.valid, found.test)},
          {"cold_targets", cold_json(found.valid, found.test)},
          {"train", train_json(record ? record->result : base::Json::object())},
          {"fidelity", nullptr},
          {"calibration", calibration_json(model, space)}};
}

base::Json baseline_json(Baseline kind, const std::string& name, Workspace& space) {
  const auto found = evaluate_side(kind, name, space);
  return {{"parameters", nullptr},
          {"parameters_table", nullptr},
          {"parameters_encoder", nullptr},
          {"bytes", nullptr},
          {"metrics", metrics_json(found.valid, found.test)},
          {"cold_targets", cold_json(found.valid, found.test)},
          {"train", train_json(base::Json::object())},
          {"fidelity", nullptr},
          {"calibration", nullptr}};
}

base::Json fidelity_json(models::SequenceModel* teacher, models::SequenceModel& side, Workspace& space,
                         SideRecords& records) {
  if (teacher == nullptr) return nullptr;
  const auto fidelity =
      measure_fidelity(*teacher, side, space.dataset(), space.job.evaluate.rbo_p, space.context, &records.fidelity);
  base::Json out{{"valid_kl", fidelity.kl}};
  for (const auto& [k, value] : fidelity.overlap) out["valid_overlap@" + std::to_string(k)] = value;
  out["valid_rbo"] = fidelity.rbo;
  for (const auto& [k, value] : fidelity.tau) out["valid_tau@" + std::to_string(k)] = value;
  return out;
}

double metric(const base::Json& report, const char* side, const char* split, const std::string& name) {
  const auto& entry = report.at(side);
  return entry.is_null() ? -1 : entry.at("metrics").at(split).at(name).get<double>();
}

/// Sentences a reader should not miss.
base::Json remarks_of(const base::Json& report, const std::string& select) {
  base::Json remarks = base::Json::array();
  const auto value = [&](const char* side) { return metric(report, side, "valid", select); };
  const auto below = [&](const char* low, const char* high) {
    if (value(low) < 0 || value(high) < 0 || value(low) >= value(high)) return;
    char text[160];
    std::snprintf(text, sizeof text, "the %s is below %s on valid %s (%.4f against %.4f)", low, high, select.c_str(),
                  value(low), value(high));
    remarks.push_back(text);
  };
  below("teacher", "popularity");
  below("teacher", "transitions");
  below("teacher", "control");
  below("student", "control");
  for (const char* side : {"teacher", "student", "control"})
    if (!report.at(side).is_null()) {
      const auto& by = report.at(side).at("train").at("stopped_by");
      if (by.is_string() && by != "patience")
        remarks.push_back(std::string("the ") + side + " ended at its budget (" + by.get<std::string>() +
                          "), not by early stopping: it may not have converged");
    }
  return remarks;
}

/// Why a stage's weights are not those of this job, or "".
std::string unfit(const std::string& stage, Workspace& space) {
  const auto record = read_stage(space.folder(stage));
  if (!record || !fs::exists(weights_path(space.folder(stage)))) return "the " + stage + " is not there yet";
  if (!record->done) return "the " + stage + " is not finished";
  std::string key;
  try {
    key = stage.starts_with("teacher") ? space.teacher_key(fs::path(stage).filename().string())
                                       : space.student_key(stage == "student");
  } catch (const CheckpointError&) {
    return "the " + stage + " cannot be told to be of this job's teacher, which is not finished";
  }
  return record->key == key ? "" : "the " + stage + " in the run folder is of another job and is left out";
}

/// The other teachers: an assistant's fidelity is to the teacher.
base::Json teachers_json(models::SequenceModel* teacher, Workspace& space, std::vector<std::string>& left_out) {
  base::Json out;  // null when there are none
  for (const auto& [name, options] : space.job.teachers) {
    const std::string stage = "teachers/" + name;
    if (const auto why = unfit(stage, space); !why.empty()) {
      left_out.push_back(why);
      continue;
    }
    SideRecords records;
    const auto model = space.load_model(*options, stage);
    out[name] = model_json(*model, stage, space, records);
    out[name]["fidelity"] = fidelity_json(teacher, *model, space, records);
  }
  return out;
}

base::Json labels_json(Workspace& space) {
  base::Json out;  // null when there are none
  for (const auto& [name, set] : space.job.labels.all())
    if (const auto record = read_stage(space.folder("labels/" + name)); record && record->done)
      out[name] = record->result;
  return out;
}

}  // namespace

base::Json build_report(Workspace& space) {
  const auto& info = space.dataset().info();
  base::Json report{{"format", "decant-report"},
                    {"version", 1},
                    {"decant", DECANT_VERSION},
                    {"run",
                     {{"seed", space.job.run.seed},
                      {"ranks", space.context.world()},
                      {"threads", space.context.threads},
                      {"backend", space.context.communicator.backend()},
                      {"device", space.context.communicator.device().str()}}},
                    {"dataset",
                     {{"rows", info.rows},
                      {"items", info.items},
                      {"events", info.events},
                      {"split", info.split},
                      {"catalogue_hash", info.catalogue_hash},
                      {"content_hash", info.content_hash}}}};
  std::vector<std::string> left_out;
  std::shared_ptr<models::SequenceModel> teacher;
  std::map<std::string, SideRecords> records;
  for (const std::string stage : {"teacher", "student", "control"}) {
    report[stage] = nullptr;
    if (const auto why = unfit(stage, space); !why.empty()) {
      left_out.push_back(why);
      continue;
    }
    const SideOptions& side =
        stage == "teacher" ? static_cast<const SideOptions&>(space.job.teacher) : space.job.student;
    const auto model = space.load_model(side, stage);
    report[stage] = model_json(*model, stage, space, records[stage]);
    if (stage == "teacher")
      teacher = model;
    else
      report[stage]["fidelity"] = fidelity_json(teacher.get(), *model, space, records[stage]);
  }
  report["teachers"] = teachers_json(teacher.get(), space, left_out);
  report["popularity"] = baseline_json(Baseline::kPopularity, "popularity", space);
  report["transitions"] = baseline_json(Baseline::kTransitions, "transitions", space);
  report["labels"] = labels_json(space);
  report["segments"] = segments_json(make_segments(space.dataset(), space.job.evaluate), records,
                                     space.job.student.train.select, space.context);
  report["inference"] = inference_json(space.job.run.folder);
  report["remarks"] = remarks_of(report, space.job.student.train.select);
  for (const auto& why : left_out) report["remarks"].push_back(why);
  return report;
}

}  // namespace decant::trainer
