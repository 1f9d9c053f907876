// Prefetch: plans steps, reads and packs this shard's micro-batches on a thread of its own, a few steps ahead.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/label_store.h"
#include "data/sampler.h"

namespace decant::data {

/// One micro-batch with its labels by label set (none when the loader has no store).
struct LabelledBatch {
  PackedBatch batch;
  std::map<std::string, LabelRows> labels;
};

/// One optimiser step as this shard sees it.
struct Window {
  std::vector<LabelledBatch> micro_batches;             // of this shard, without empty ones; may be none
  std::int64_t sequences = 0, tokens = 0, targets = 0;  // over all shards
  Position next;
  bool ends_epoch = false;
};

class Loader {
 public:
  /// `labels` may be null. References must outlive the loader. The thread starts with the constructor.
  Loader(const Dataset& dataset, const LabelStore* labels, const Sampler& sampler, std::int64_t max_length, Shard shard,
         Position start, std::size_t steps_ahead = 4);
  ~Loader();
  /// The next step, over epochs without end. Rethrows what the thread threw.
  [[nodiscard]] Window next();
  /// Seconds that next() has waited so far.
  [[nodiscard]] double waited_seconds() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace decant::data
