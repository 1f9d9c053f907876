// The stages of a run folder. A stage is skipped when its key (inputs, options that affect the result, versions of the
// components) is the one already there.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/options.h"
#include "trainer/context.h"
#include "trainer/job.h"

namespace decant::trainer {

/// Throws the errors of the modules. All ranks call the same stages in the same order.
class Pipeline {
 public:
  Pipeline(JobOptions& job, const Registries& registries, Context& context);
  ~Pipeline();
  void import();
  void train_teacher();
  void train_control();
  void label();    // behind the teacher gate
  void distill();  // control, gate, student
  /// Evaluates what is there and writes report.json; prints the table on rank 0.
  void evaluate();
  void run();  // all of it
  /// What a run would do, without doing it: stages with "run" or "skip", sizes, memory and label bytes.
  [[nodiscard]] static base::Json plan(JobOptions& job, const Registries& registries, int ranks);

 private:
  void train_student();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The table that `evaluate` prints, from a report.
[[nodiscard]] std::string format_report(const base::Json& report);

}  // namespace decant::trainer
