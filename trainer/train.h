// The training loop: steps over windows of the loader, validation, checkpoints, early stopping, resume.
#pragma once

#include <filesystem>
#include <string>

#include "data/dataset.h"
#include "data/folds.h"
#include "data/label_store.h"
#include "trainer/checkpoint.h"
#include "trainer/context.h"
#include "trainer/job.h"
#include "trainer/task.h"

namespace decant::trainer {

struct TrainSetup {
  std::string stage;       // "teacher", "student", "control"
  fs::path folder;         // <run>/<stage>
  std::string key;         // of the stage
  std::uint64_t seed = 0;  // of order and of keyed randomness
  std::int64_t max_length = 0;
  const data::Dataset& dataset;
  const data::LabelStore* labels;  // null: none
  const data::BatchOptions& batch;
  const TrainOptions& options;
  // Of one of several stages of training; see loss_stages.h.
  std::string loss_stage = {};  // its name; empty: there is one
  double lr = 0;                // 0: the optimiser's
  TrainState begin = {};        // where it begins when it has no checkpoint
  fs::path hand_over = {};      // file for all parameters at its best (or last) step; empty: none
  bool hand_over_last = false;
  BalanceOptions balance = {};
  data::Fold left_out = {};  // rows that are passed over
};

struct TrainResult {
  std::int64_t steps = 0, epochs = 0, best_step = 0, best_epoch = 0;
  double best_value = 0;
  std::int64_t skipped = 0;         // steps that were not finite
  double sequences_per_second = 0;  // 0: fewer than six steps were timed
  double data_wait_share = 0;       // of the timed seconds
  std::string stopped_by;           // "patience", "max_epochs", "max_steps"
  base::Json curve;
  TrainState end;
  [[nodiscard]] base::Json to_json() const;
};

/// Trains those of `task`'s parameters that require a gradient until a bound of the options, leaving `<folder>/weights.safetensors` (the best by valid) and the last
/// checkpoint. Continues from a checkpoint with the same key. All ranks call it; all get the same result but for times.
/// Throws NumericError when a loss or a gradient is not finite (non_finite.h), Stopped after a checkpoint when a stop was requested.
TrainResult train(Task& task, Optimizer& optimizer, const TrainSetup& setup, Context& context,
                  const std::map<std::string, std::string>& weights_metadata);

}  // namespace decant::trainer
