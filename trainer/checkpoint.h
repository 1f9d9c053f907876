// Checkpoints: logical tensors by name, independent of ranks. A folder is written beside, its manifest last, and renamed;
// the previous one stays until then.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/options.h"
#include "data/sampler.h"
#include "models/logical_tensor.h"
#include "trainer/fault.h"

namespace decant::trainer {

namespace fs = std::filesystem;

/// Where a training run stands, beside its tensors.
struct TrainState {
  std::int64_t step = 0;                         // optimiser steps done
  std::int64_t first_step = 0, first_epoch = 0;  // where the present stage of training began
  data::Position position;                       // of the next step
  double best_value = -1;
  std::int64_t best_step = 0, best_epoch = 0;
  std::int64_t stale = 0;                       // validations since the best
  std::string stopped_by;                       // why training has ended; empty while it goes on
  base::Json curve = base::Json::array();       // an entry a validation
  base::Json counts = base::Json::object();     // of the running epoch, what the task counts
  base::Json finished = base::Json::array();    // an entry a stage of training that has ended
  std::vector<double> loss_sums, loss_weights;  // of the running epoch, by loss
  std::vector<double> scales;                   // the balance's, by loss; empty: off
  std::int64_t skipped = 0;                     // steps that were not finite, all in all
  std::int64_t skipped_in_row = 0;              // the last so many steps
  [[nodiscard]] base::Json to_json() const;
  static TrainState from_json(const base::Json& tree);
};

/// Writes `<folder>/step-<n>` (one rank) and removes older ones. `key` is the stage's; `seed`, `threads` and `ranks` are
/// recorded: bits are promised for the same ones only.
struct CheckpointWriter {
  fs::path folder;
  std::string key;
  int ranks = 1, threads = 1;
  const FaultPlan* faults = nullptr;
  void write(const TrainState& state, const models::NamedTensors& tensors) const;
  /// Tensors of which each rank has a part: all ranks call it, and the one that `writes` does so.
  void write(const TrainState& state, const std::vector<models::LogicalTensor>& tensors, bool writes) const;
};

struct Checkpoint {
  TrainState state;
  models::WeightsFile tensors;
  int ranks = 1, threads = 1;
  fs::path path;
};

/// The newest whole checkpoint with this key; nothing when there is none. Throws CheckpointError naming the file when a
/// committed checkpoint is damaged or was written by a newer version.
[[nodiscard]] std::optional<Checkpoint> load_newest_checkpoint(const fs::path& folder, const std::string& key);
/// The same with the tensors read into `targets`, run by run; the result has none.
[[nodiscard]] std::optional<Checkpoint> load_newest_checkpoint(const fs::path& folder, const std::string& key,
                                                               const std::vector<models::LogicalTensor>& targets);

/// Keys of the committed checkpoints in `folder`, newest first; their tensors are not read.
[[nodiscard]] std::vector<std::string> checkpoint_keys(const fs::path& folder);

/// What `decant inspect` prints of a checkpoint folder.
[[nodiscard]] base::Json inspect_checkpoint(const fs::path& folder);

}  // namespace decant::trainer
