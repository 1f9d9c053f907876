// The stages of a run folder. A stage is skipped when its key (inputs, options that affect the result, versions of the
// components) is the one already there.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/options.h"
#include "trainer/context.h"
#include "trainer/job.h"
#include "trainer/stage_pool.h"

namespace decant::trainer {

/// Throws the errors of the modules. All ranks call the same stages in the same order.
class Pipeline {
 public:
  /// `pool`: where stages are shared with other runs (a sweep's trials); none by default.
  Pipeline(JobOptions& job, const Registries& registries, Context& context, StagePool pool = {});
  ~Pipeline();
  void import();
  void train_teacher();  // all teachers, and the label sets that some of them learn from
  void train_control();
  void label();  // behind the teacher gate
  void train_student();
  void distill();  // control, gate, student
  /// Evaluates what is there and writes report.json; prints the table on rank 0.
  void evaluate();
  void run();  // all of it
  /// What a run would do, without doing it: stages with "run" or "skip", sizes, memory and label bytes.
  [[nodiscard]] static base::Json plan(JobOptions& job, const Registries& registries, int ranks);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The table that `evaluate` prints, from a report.
[[nodiscard]] std::string format_report(const base::Json& report);

}  // namespace decant::trainer
