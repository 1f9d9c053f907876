#include "trainer/gate.h"

#include <cstdio>

#include "trainer/baselines.h"
#include "trainer/errors.h"

namespace decant::trainer {
namespace {

constexpr const char* kRivals[] = {"popularity", "transitions", "control"};

/// Hash of the finished control of this job, or "".
std::string control_hash(Workspace& space) {
  const auto record = read_stage(space.folder("control"));
  return record && record->done && record->key == space.student_key(false)
             ? record->result.at("weights_hash").get<std::string>()
             : "";
}

std::string compared(const std::string& what, double teacher, double other) {
  char text[96];
  std::snprintf(text, sizeof text, "%s (%.4f against %.4f)", what.c_str(), teacher, other);
  return text;
}

}  // namespace

base::Json measure_gate(Workspace& space, const std::string& teacher) {
  auto& context = space.context;
  const auto& metric = space.job.student.train.select;
  const auto control = context.communicator.broadcast_bytes(context.leads() ? control_hash(space) : "", 0);
  const auto key = stage_key({{"teacher", space.teacher_hash(teacher)},
                              {"events", space.dataset().info().content_hash},
                              {"control", control},
                              {"metric", metric}});
  const auto folder = space.folder(teacher == "teacher" ? "gate" : "gates/" + teacher);
  std::string known;
  if (context.leads())
    if (const auto record = read_stage(folder); record && record->done && record->key == key)
      known = record->result.dump();
  known = context.communicator.broadcast_bytes(known, 0);
  if (!known.empty()) return base::Json::parse(known);

  context.metrics.set_stage("gate");
  context.communicator.stand_at("gate", -1);
  base::Json values{{"metric", metric}};
  const auto value_of = [&](const Evaluation& found) { return found.all.metrics().at(metric); };
  const auto of_model = [&](const SideOptions& side, const std::string& stage) {
    return value_of(
        evaluate_model(*space.load_model(side, stage), space.dataset(), data::Split::kValid, false, context));
  };
  const auto side = space.teacher_side(teacher);
  values["teacher"] = of_model(side.options, side.stage);
  for (const auto& [name, kind] :
       {std::pair("popularity", Baseline::kPopularity), {"transitions", Baseline::kTransitions}})
    values[name] = value_of(BaselineRanker(space.dataset(), kind).evaluate(data::Split::kValid, context));
  values["control"] = control.empty() ? base::Json() : base::Json(of_model(space.job.student, "control"));
  if (context.leads()) finish_stage(folder, key, values);
  return values;
}

std::string gate_verdict(const base::Json& values, const std::string& teacher) {
  std::vector<std::string> better;
  for (const char* rival : kRivals)
    if (!values.at(rival).is_null() && values.at("teacher") < values.at(rival))
      better.push_back(compared(rival, values.at("teacher"), values.at(rival)));
  if (better.empty()) return "";
  const std::string who = teacher == "teacher" ? "the teacher" : "teacher '" + teacher + "'";
  return who + " is below " + base::join(better, " and ") + " on valid " + values.at("metric").get<std::string>();
}

void pass_teacher_gate(Workspace& space, const std::string& teacher) {
  const auto values = measure_gate(space, teacher);
  const auto verdict = gate_verdict(values, teacher);
  if (verdict.empty()) {
    space.context.log.line("gate " + values.dump());
    return;
  }
  if (space.teacher_side(teacher).options.gate == "stop")
    throw GateError(verdict + ": a student of it would learn little; train it better, or set '" +
                    std::string(teacher == "teacher" ? "" : "teachers.") + teacher +
                    ".gate: warn' to go on all the same");
  space.context.progress.say("gate: " + verdict);
  space.context.log.line("gate: " + verdict);
}

}  // namespace decant::trainer
