// Sides compared over seeds from the ranks that `evaluate` saved (`decant compare`, and the end of a sweep).
#pragma once

#include <string>
#include <vector>

#include "base/options.h"
#include "data/rank_file.h"
#include "trainer/bootstrap.h"

namespace decant::trainer {

struct CompareOptions : base::Options {
  std::string metric = "ndcg@10", split = "test";
  bool unseen = false;
  std::int64_t replicates = 2000;
  double confidence = 0.95;
  std::int64_t seed = 1;
  void describe(base::Fields& fields) override;
};

/// One side's rank files, one a seed.
using SeedRanks = std::vector<data::RankFile>;

/// `side` less `against`, seed by seed. `against` may have one file for all seeds (a teacher). Throws DataError when the
/// files are not of the same users and targets.
[[nodiscard]] Difference compare(const SeedRanks& side, const SeedRanks& against, const CompareOptions& options,
                                 int threads);

/// Mean and deviation over seeds of a side's metric.
struct Level {
  double mean = 0, deviation = 0;
  std::int64_t seeds = 0;
};
[[nodiscard]] Level level_of(const SeedRanks& side, const CompareOptions& options);

/// Every side that all folders hold, the student against control, teacher, popularity and transitions. Folders are run
/// folders of one job under several seeds.
[[nodiscard]] base::Json compare_runs(const std::vector<std::string>& folders, const CompareOptions& options,
                                      int threads);

/// For runs of different jobs on the same dataset: {runs, metric, split, unseen, levels: {side: [a value a run]}, less_first: {side:
/// [what compare() finds of each further run less the first]}} of the sides that all folders hold.
[[nodiscard]] base::Json compare_jobs(const std::vector<std::string>& folders, const CompareOptions& options,
                                      int threads);

/// {sides: {student: {mean, deviation, seeds}}, student_less: {control: {mean, low, high, p, ...}}} of what is there.
[[nodiscard]] base::Json compare_sides(const std::vector<std::pair<std::string, SeedRanks>>& sides,
                                       const CompareOptions& options, int threads);

/// The table of compare_runs or compare_jobs.
[[nodiscard]] std::string format_comparison(const base::Json& comparison);

}  // namespace decant::trainer
