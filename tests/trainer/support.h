// What the tests of trainer share: one process's surroundings, and messages.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "dist/communicator.h"
#include "tests/data/support.h"
#include "trainer/context.h"

namespace decant::trainer::testing_support {

using data::testing_support::contains;
using data::testing_support::message_of;
using data::testing_support::TempFolder;

/// A process alone, quiet.
struct Alone {
  explicit Alone(const std::filesystem::path& folder, int threads = 1)
      : communicator(dist::make_single_communicator(torch::kCPU)),
        metrics("test", 0),
        progress(stderr, false),
        log(folder / "log", 0),
        context{*communicator, metrics, progress, log, faults, stop, threads} {}
  std::unique_ptr<dist::Communicator> communicator;
  monitoring::Metrics metrics;
  monitoring::Progress progress;
  monitoring::RankLog log;
  FaultPlan faults;
  std::atomic<bool> stop{false};
  Context context;
};

}  // namespace decant::trainer::testing_support
