// What launch builds and passes down to every stage.
#pragma once

#include <atomic>
#include <filesystem>

#include "dist/communicator.h"
#include "monitoring/metrics.h"
#include "monitoring/progress.h"
#include "trainer/fault.h"

namespace decant::trainer {

struct Context {
  dist::Communicator& communicator;
  monitoring::Metrics& metrics;
  monitoring::Progress& progress;
  monitoring::RankLog& log;
  const FaultPlan& faults;
  const std::atomic<bool>& stop_requested;  // set by a signal; agreed over ranks at the step boundary
  int threads = 1;

  [[nodiscard]] int rank() const { return communicator.rank(); }
  [[nodiscard]] int world() const { return communicator.size(); }
  [[nodiscard]] bool leads() const { return communicator.rank() == 0; }
};

}  // namespace decant::trainer
