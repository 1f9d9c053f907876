// Curves of a run for TensorBoard.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "monitoring/metrics.h"

namespace decant::monitoring {

/// Writes what the metrics say of a training's steps below <folder>/<stage>/, a file for each time that a stage begins or
/// continues: `loss/<part>`, `valid/<metric>`, `learning_rate`, `sequences_per_second`, `gradient_norm`, `loss_scale/<part>`,
/// each at the step that it tells of. A file begins with word that what earlier ones say of its first step and later ones
/// is void: a job that was killed and continues shows each step once.
///
/// Points are handed to a thread that writes them a few times a second, and at once when a checkpoint begins, so that a
/// job that continues from it lacks none; training never waits. Points that the disk does not take, or
/// that find `kMostWaiting` before them, are counted (decant_tensorboard_dropped_total); the first is told to `warn`, from
/// that thread.
/// REQUIRES: `metrics` and what `warn` uses outlive it. Takes the one listener that metrics have.
class ScalarLog {
 public:
  static constexpr std::size_t kMostWaiting = 100'000;
  ScalarLog(Metrics& metrics, const std::filesystem::path& folder, std::function<void(const std::string&)> warn);
  /// Writes what waits.
  ~ScalarLog();
  ScalarLog(const ScalarLog&) = delete;
  ScalarLog& operator=(const ScalarLog&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace decant::monitoring
