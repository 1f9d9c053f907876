// Order is a function: which rows form step n depends on seed, epoch and lengths only, never on ranks or on history.
#pragma once

#include <cstdint>
#include <vector>

#include "base/options.h"
#include "data/dataset.h"
#include "data/folds.h"

namespace decant::data {

struct BatchOptions : base::Options {
  std::int64_t sequences = 128;  // a cut ends at so many sequences over all ranks,
  std::int64_t tokens = 0;       // or at so many input tokens, whichever comes first; 0: no bound
  std::int64_t accumulate = 1;   // cuts an optimiser step
  std::int64_t rank_tokens = 0;  // splits a rank's share into micro-batches of so many tokens; 0: no bound
  void describe(base::Fields& fields) override;
};

/// Where a run stands: the next row of the order of an epoch.
struct Position {
  std::int64_t epoch = 0;
  std::int64_t row = 0;  // index into the epoch's order
  bool operator==(const Position&) const = default;
};

/// The rows of one optimiser step over all ranks: `accumulate` cuts, fewer at an epoch's end.
struct StepPlan {
  std::vector<std::vector<std::int64_t>> cuts;
  Position next;  // after this step; next.epoch > epoch and row 0 when the epoch is complete
  bool ends_epoch = false;
};

/// Permutes blocks of rows, then rows inside groups of blocks (as many as fit the dataset's cache, so the order depends
/// on that option). Rows of `left_out`, and those without a training target, are passed over. Const and thread-safe.
/// Throws ConfigError when no row is left.
class Sampler {
 public:
  Sampler(const Dataset& dataset, const BatchOptions& options, std::int64_t max_length, std::uint64_t seed,
          Fold left_out = {});

  /// The step from `at` on, never an empty one: at an epoch's end it is the next epoch's first.
  [[nodiscard]] StepPlan plan(const Position& at) const;
  /// Optimiser steps of an epoch (walks the lengths once).
  [[nodiscard]] std::int64_t steps(std::int64_t epoch) const;
  /// The row at `index` of the epoch's order.
  [[nodiscard]] std::int64_t row_at(std::int64_t epoch, std::int64_t index) const;

  /// A cut's rows dealt to `count` shards, balanced by targets (longest first to the least loaded shard; ties by order),
  /// and each share split into micro-batches by `rank_tokens`. Shares may be empty.
  [[nodiscard]] std::vector<std::vector<std::int64_t>> share(const std::vector<std::int64_t>& cut, Shard shard) const;

 private:
  [[nodiscard]] std::int64_t rows() const;
  /// 0 of a row that is left out.
  [[nodiscard]] std::int64_t targets(std::int64_t row) const;
  /// The next row with targets at or after `at`, in the next epoch when this one has none left.
  [[nodiscard]] Position settle(Position at) const;
  /// The rows of one cut from `at` on, which moves behind them.
  [[nodiscard]] std::vector<std::int64_t> cut(Position& at) const;

  const Dataset& dataset_;
  BatchOptions options_;
  std::int64_t max_length_, group_rows_, block_rows_;
  std::uint64_t seed_;
  Fold left_out_;
};

}  // namespace decant::data
