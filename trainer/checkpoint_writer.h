// Writing checkpoints while training goes on: each rank copies its share of the tensors, a thread writes it, and rank 0
// commits when all have.
#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "models/tensor_pieces.h"
#include "trainer/checkpoint.h"
#include "trainer/fault.h"

namespace decant::trainer {

struct CheckpointOptions {
  fs::path folder;
  std::string key;  // of the stage
  int threads = 1;  // recorded: bits are promised for the same number only
  std::int64_t keep_last = 1;
  bool keep_best = false;  // the one at TrainState::best_step too
  const FaultPlan* faults = nullptr;
};

/// `<folder>/step-<n>` is written as `step-<n>.partial`, its manifest last, and renamed; older ones go after that. One is on
/// its way at a time. What fails in a thread is thrown by the next call. The destructor waits for the threads, and commits
/// nothing.
class CheckpointWriter {
 public:
  CheckpointWriter(CheckpointOptions options, dist::Communicator& communicator)
      : options_(std::move(options)), communicator_(communicator) {}

  /// Collective, before the first one: removes what a run that was cut has left.
  void clear();
  /// Collective: completes the one before, copies this rank's share, and returns while it is written. `tensors` are the same on
  /// every rank but for what lies there.
  void begin(const TrainState& state, const std::vector<models::LogicalTensor>& tensors);
  /// Whether this rank has written its share of the one on its way. Not collective.
  [[nodiscard]] bool written();
  /// Collective, when all ranks have written: rank 0 begins to commit.
  void commit();
  /// Collective: waits until the one on its way is committed.
  void finish();

 private:
  struct Pending {
    TrainState state;
    base::Json tensors;  // for the manifest, without hashes
    std::vector<models::Share> shares;
    std::vector<std::string> names;             // of the tensors
    std::future<models::TensorHashes> writing;  // none where this rank has no share
  };
  void check_committed();
  [[nodiscard]] models::NamedTensors copy_share(const std::vector<models::LogicalTensor>& tensors,
                                                const std::vector<models::Share>& shares);
  [[nodiscard]] base::Json manifest(const Pending& done, const std::vector<std::string>& hashes) const;
  void seal(const base::Json& manifest, const TrainState& state) const;
  void remove_older(const TrainState& state) const;

  CheckpointOptions options_;
  dist::Communicator& communicator_;
  std::vector<torch::Tensor> buffers_;  // used again: the same tensors come each time
  std::optional<Pending> pending_;      // the same on every rank
  std::future<void> committing_;        // rank 0
};

}  // namespace decant::trainer
