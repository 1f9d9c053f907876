// Checkpoints: logical tensors by name, independent of ranks. A folder holds a file of each rank that wrote it and the
// manifest, which says where the rows of each tensor are; see checkpoint_writer.h for how it comes to be.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/options.h"
#include "data/sampler.h"
#include "models/logical_tensor.h"

namespace decant::trainer {

namespace fs = std::filesystem;

inline constexpr const char* kCheckpointFormat = "decant-checkpoint";
inline constexpr const char* kCheckpointManifest = "manifest.json";
inline constexpr int kCheckpointVersion = 2;

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

struct Checkpoint {
  TrainState state;
  int ranks = 1, threads = 1;
  fs::path path;
};

/// The newest whole checkpoint with this key, its tensors read into `targets`; nothing when there is none. Reads the
/// format of version 1 too. Throws CheckpointError naming the file when a committed checkpoint is damaged, has other
/// tensors, or was written by a newer version.
[[nodiscard]] std::optional<Checkpoint> load_newest_checkpoint(const fs::path& folder, const std::string& key,
                                                               const std::vector<models::LogicalTensor>& targets);

/// Keys of the committed checkpoints in `folder`, newest first; their tensors are not read.
[[nodiscard]] std::vector<std::string> checkpoint_keys(const fs::path& folder);

/// Folders named step-<number>, newest first.
[[nodiscard]] std::vector<fs::path> checkpoint_folders(const fs::path& folder);

/// What `decant inspect` prints of a checkpoint folder.
[[nodiscard]] base::Json inspect_checkpoint(const fs::path& folder);

}  // namespace decant::trainer
