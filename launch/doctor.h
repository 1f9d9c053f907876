// `decant doctor`: would a job run here, and how fast can its ranks talk to each other.
#pragma once

#include <cstdint>

#include "base/options.h"
#include "launch/command_line.h"
#include "trainer/job.h"

namespace decant::launch {

struct DoctorOptions : base::Options {
  std::string device = "auto";  // without a job file
  double seconds = 5;           // for timing the exchange
  std::int64_t most_mib = 64;   // its largest message
  void describe(base::Fields& fields) override;
};

/// On all ranks; rank 0 prints. Returns 0, also with warnings, or the code of the first problem.
[[nodiscard]] int run_doctor(const CommandLine& line, const trainer::Registries& registries);

}  // namespace decant::launch
