// Targets divided into segments: how well each side ranks in each, how well the student repeats the teacher there, and
// where it loses most.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "trainer/context.h"
#include "trainer/fidelity.h"
#include "trainer/job.h"
#include "trainer/ranking.h"

namespace decant::trainer {

/// One way to divide: every target has one of `values`.
struct Segment {
  std::string name;
  std::vector<std::string> values;
  std::function<std::size_t(const TargetRank&, data::Split)> value_of;
};

/// `popularity`: items by training count, most frequent first; head makes up half of the training events, torso the next
/// 30 %, tail the rest, cold never occurs. `history`: events before the target. Then the job's own by attribute. Throws
/// DataError naming file and line for a line without a tab or an id with two values, and when no id is the dataset's.
[[nodiscard]] std::vector<Segment> make_segments(const data::Dataset& dataset, const EvaluateOptions& options);

/// What a side's evaluation left on this process, by row.
struct SideRecords {
  std::vector<TargetRank> valid, test;
  std::vector<TargetFidelity> fidelity;  // of valid, in the same order; empty: none was measured
};

/// The report's `segments` (docs/report.md) by `metric`. Collective: integer sums over ranks.
[[nodiscard]] base::Json segments_json(const std::vector<Segment>& segments,
                                       const std::map<std::string, SideRecords>& sides, const std::string& metric,
                                       Context& context);

/// What is printed of it.
[[nodiscard]] std::string format_segments(const base::Json& report);

}  // namespace decant::trainer
