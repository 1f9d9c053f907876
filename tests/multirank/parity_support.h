// What the tests that N ranks equal one rank share: what a process runs with, how far two results are apart, how far they
// may be, and the record of it.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>

#include "models/weights_file.h"
#include "monitoring/metrics.h"
#include "monitoring/progress.h"
#include "tests/multirank/world.h"
#include "trainer/context.h"

namespace decant::multirank {

namespace fs = std::filesystem;

// Largest absolute difference of a parameter after a few steps of AdamW at a learning rate of 0.01. Keys' biases have a
// gradient of 0 but for rounding, which AdamW magnifies. docs/parity.md has what was measured, and where it comes from.
constexpr double kTolerance = 2e-4, kKeyBiasTolerance = 1e-3;
constexpr double kLossTolerance = 1e-6;  // relative, of a mean over an epoch

/// What one process runs with.
struct Place {
  Place(dist::Communicator& communicator, const fs::path& folder, int threads = 1, const std::string& fault = "");
  monitoring::Metrics metrics;
  monitoring::Progress progress;
  monitoring::RankLog log;
  trainer::FaultPlan faults;
  std::atomic<bool> stop{false};
  trainer::Context context;
};

/// The largest differences between two results.
struct Gap {
  double parameters = 0, key_biases = 0;  // absolute
  double losses = 0;                      // relative
};

/// `widest` becomes `gap` where that is larger, infinity where it is not a number.
void widen(double& widest, double gap);

/// Of the same tensors in the same order, which is expected.
[[nodiscard]] Gap gap_of(const models::NamedTensors& a, const models::NamedTensors& b);

/// Expects parameters and keys' biases to be within the tolerance.
void expect_within_tolerance(const Gap& gap, const std::string& what);

/// Rank 0 prints it and, where DECANT_PARITY_RECORD names a file, appends a line to it for
/// tests/scripts/parity_tables.py: the table it belongs to, its row, ranks, and the three gaps, between tabs.
void tell(const std::string& table, const std::string& row, const Gap& gap);

/// A new temporary folder, the same for all ranks. Collective.
[[nodiscard]] fs::path make_shared_folder(const std::string& prefix);

/// Rank 0 removes it once nobody needs it. Collective.
void remove_shared_folder(const fs::path& folder);

/// On rank 0, with a communicator of its own, while the others wait. Collective.
void alone(const std::function<void(dist::Communicator&)>& work);

}  // namespace decant::multirank
