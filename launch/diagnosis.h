// What is wrong, or might be, with where a job is to run.
#pragma once

#include <string>
#include <vector>

#include "base/errors.h"
#include "launch/launcher.h"
#include "launch/rank_facts.h"

namespace decant::launch {

/// A problem ends the doctor with `code`; a warning (`code` kOk) does not.
struct Finding {
  base::ExitCode code;
  std::string text;  // with the cure
  [[nodiscard]] bool is_problem() const { return code != base::ExitCode::kOk; }
};

struct Surroundings {
  std::string launcher;  // Launcher::name
  std::string folder;    // of the run, or the working folder
  bool is_run_folder = false;
};

/// Of what the ranks have told, in rank order.
[[nodiscard]] std::vector<Finding> diagnose(const std::vector<RankFacts>& ranks, const Surroundings& surroundings);

/// A process that was started alone inside an allocation for several.
[[nodiscard]] std::vector<Finding> diagnose_launch(const Launcher& launcher, const Variables& variables);

}  // namespace decant::launch
