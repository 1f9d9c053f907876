// report.json (docs/report.md) and the table that is printed.
#include <cstdio>
#include <sstream>

#include "base/files.h"
#include "trainer/baselines.h"
#include "trainer/errors.h"
#include "trainer/pipeline.h"
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

/// A side that is a model: what it is, how it was trained, how it ranks.
base::Json model_json(models::SequenceModel& model, const std::string& stage, Workspace& space) {
  const auto valid = evaluate_model(model, space.dataset(), data::Split::kValid, true, space.context);
  const auto test = evaluate_model(model, space.dataset(), data::Split::kTest, true, space.context);
  const auto count = model.parameter_count();
  const auto record = read_stage(space.folder(stage));
  base::Json train = record ? record->result : base::Json::object();
  for (const char* key : {"sequences_per_second", "steps", "epochs", "best_epoch", "best_value", "stopped_by"})
    if (!train.contains(key)) train[key] = nullptr;
  return {{"parameters", count.total()},
          {"parameters_table", count.table},
          {"parameters_encoder", count.encoder},
          {"bytes", fs::file_size(weights_path(space.folder(stage)))},
          {"metrics", metrics_json(valid, test)},
          {"cold_targets", cold_json(valid, test)},
          {"train", train},
          {"fidelity", nullptr}};
}

base::Json baseline_json(Baseline kind, Workspace& space) {
  const BaselineRanker ranker(space.dataset(), kind);
  const auto valid = ranker.evaluate(data::Split::kValid, space.context);
  const auto test = ranker.evaluate(data::Split::kTest, space.context);
  return {{"parameters", nullptr},
          {"metrics", metrics_json(valid, test)},
          {"cold_targets", cold_json(valid, test)},
          {"train", nullptr},
          {"fidelity", nullptr}};
}

base::Json fidelity_json(models::SequenceModel* teacher, models::SequenceModel& side, Workspace& space) {
  if (teacher == nullptr) return nullptr;
  const auto fidelity = measure_fidelity(*teacher, side, space.dataset(), space.job.labels.k, space.context);
  return {{"valid_kl", fidelity.kl}, {"valid_overlap@10", fidelity.overlap_at_10}};
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
    key = stage == "teacher" ? space.teacher_key() : space.student_key(stage == "student");
  } catch (const CheckpointError&) {
    return "the " + stage + " cannot be told to be of this job's teacher, which is not finished";
  }
  return record->key == key ? "" : "the " + stage + " in the run folder is of another job and is left out";
}

base::Json labels_json(Workspace& space) {
  const auto record = read_stage(space.folder("labels"));
  return record && record->done ? record->result : base::Json();
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
  for (const std::string stage : {"teacher", "student", "control"}) {
    report[stage] = nullptr;
    if (const auto why = unfit(stage, space); !why.empty()) {
      left_out.push_back(why);
      continue;
    }
    const SideOptions& side =
        stage == "teacher" ? static_cast<const SideOptions&>(space.job.teacher) : space.job.student;
    const auto model = space.load_model(side, stage);
    report[stage] = model_json(*model, stage, space);
    if (stage == "teacher")
      teacher = model;
    else
      report[stage]["fidelity"] = fidelity_json(teacher.get(), *model, space);
  }
  report["popularity"] = baseline_json(Baseline::kPopularity, space);
  report["transitions"] = baseline_json(Baseline::kTransitions, space);
  report["labels"] = labels_json(space);
  report["remarks"] = remarks_of(report, space.job.student.train.select);
  for (const auto& why : left_out) report["remarks"].push_back(why);
  return report;
}

std::string format_report(const base::Json& report) {
  std::ostringstream out;
  char line[256];
  std::snprintf(line, sizeof line, "\n%-12s %12s %10s %10s %10s %10s %10s %12s\n", "", "parameters", "recall@10",
                "ndcg@10", "mrr@10", "ndcg@10", "overlap", "train");
  out << line;
  std::snprintf(line, sizeof line, "%-12s %12s %10s %10s %10s %10s %10s %12s\n", "test", "", "all", "all", "all",
                "unseen", "@10", "seq/s");
  out << line;
  for (const char* side : {"teacher", "student", "control", "popularity", "transitions"}) {
    const auto& entry = report.at(side);
    if (entry.is_null()) continue;
    const auto& all = entry.at("metrics").at("test");
    const auto& unseen = entry.at("metrics").at("test_unseen");
    const auto text = [](const base::Json& value, const char* format) {
      if (value.is_null()) return std::string("-");
      char buffer[32];
      std::snprintf(buffer, sizeof buffer, format, value.get<double>());
      return std::string(buffer);
    };
    const auto& fidelity = entry.at("fidelity");
    const auto& train = entry.at("train");
    std::snprintf(line, sizeof line, "%-12s %12s %10.4f %10.4f %10.4f %10.4f %10s %12s\n", side,
                  text(entry.at("parameters"), "%.0f").c_str(), all.at("recall@10").get<double>(),
                  all.at("ndcg@10").get<double>(), all.at("mrr@10").get<double>(), unseen.at("ndcg@10").get<double>(),
                  text(fidelity.is_null() ? fidelity : fidelity.at("valid_overlap@10"), "%.3f").c_str(),
                  text(train.is_null() ? train : train.at("sequences_per_second"), "%.0f").c_str());
    out << line;
  }
  for (const auto& remark : report.at("remarks")) out << "note: " << remark.get<std::string>() << "\n";
  return out.str();
}

}  // namespace decant::trainer
