// How well a side repeats the teacher on valid, and how far its probabilities can be trusted. All sums are integers or
// fixed point: the same value at any number of ranks and threads.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "data/dataset.h"
#include "models/model.h"
#include "trainer/context.h"

namespace decant::trainer {

/// Depth of the lists that are compared.
inline constexpr std::int64_t kListDepth = 100;

/// One target's share of the fidelity.
struct TargetFidelity {
  std::int64_t row = 0;
  std::int64_t kl = 0;            // in units of 1 / kFidelityUnit
  std::int64_t shared_at_10 = 0;  // items of the teacher's ten best among the side's
};
inline constexpr double kFidelityUnit = 1 << 24;

/// Means over the targets of valid.
struct Fidelity {
  double kl = 0;                           // KL(teacher || side) at T = 1 over the teacher's 100 best and one bucket
  std::map<std::int64_t, double> overlap;  // k -> share of the teacher's k best among the side's k best
  double rbo = 0;                          // rank-biased overlap, extrapolated from depth 100
  std::map<std::int64_t, double> tau;      // k -> Kendall's tau of the side's scores over the teacher's k best
};

/// Collective. `rbo_p` in (0, 1): how deep a reader looks. `kept` (null: none) gets this process's targets, by row.
[[nodiscard]] Fidelity measure_fidelity(models::SequenceModel& teacher, models::SequenceModel& side,
                                        const data::Dataset& dataset, double rbo_p, Context& context,
                                        std::vector<TargetFidelity>* kept = nullptr);

/// Extrapolated rank-biased overlap of two lists of distinct items of one length (Webber, Moffat, Zobel 2010, eq. 32):
/// `shared[d]` items are in both lists' first d + 1. 1 for equal lists.
[[nodiscard]] double rank_biased_overlap(const std::vector<std::int64_t>& shared, double p);

/// Targets whose probability falls into one bin of equal width.
struct CalibrationBin {
  std::int64_t targets = 0;
  double expected = 0;  // mean of what the model expects
  double found = 0;     // mean of what came
};

struct Calibration {
  double nll = 0;  // mean -log p(target), nats
  /// Expected calibration error (Guo, Pleiss, Sun, Weinberger 2017) of the first item: its probability against how often
  /// it is the target.
  double top1_error = 0;
  /// The same of the target's probability: what the model expects it to be, the sum of p squared over the catalogue,
  /// against what it is. They have the same mean when the model is calibrated.
  double target_error = 0;
  std::vector<CalibrationBin> top1_bins, target_bins;
};

/// Collective; on valid, T = 1, over the whole catalogue.
[[nodiscard]] Calibration measure_calibration(models::SequenceModel& model, const data::Dataset& dataset,
                                              std::int64_t bins, Context& context);

}  // namespace decant::trainer
