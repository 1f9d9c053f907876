// Out-of-fold labels: of a label set with `folds: n`, each row is labelled by a teacher that was trained without it, so
// that no label is a teacher's memory of its own training rows. As in stacking (Wolpert 1992).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/folds.h"
#include "models/model.h"
#include "trainer/job.h"

namespace decant::trainer {

/// A teacher trained without fold `index` has the name "<teacher>.fold-<index>-of-<count>", which a job file cannot give.
struct FoldName {
  std::string teacher;
  std::int64_t index = 0, count = 0;  // count 0: a teacher of the job file
  [[nodiscard]] std::string text() const;
  static FoldName parse(const std::string& name);
};

/// Teachers that label a set: its own, or one a fold.
[[nodiscard]] std::vector<std::string> teachers_of_set(const LabelSetOptions& set);

/// Those of the teachers of the sets that a run makes which are trained without a fold.
[[nodiscard]] std::vector<std::string> fold_teachers(const JobOptions& job, const Registries& registries);

/// Throws ConfigError for folds of a teacher that cannot be trained without some rows, or of a kind that compares what
/// two teachers cannot have in common.
void check_folds(const JobOptions& job, const Registries& registries);

/// Who labels which row of a set.
struct LabelTeachers {
  std::vector<std::shared_ptr<models::SequenceModel>> models;  // one; with folds: one a fold
  std::uint64_t seed = 0;                                      // of data::fold_of
  /// Place in `models`.
  [[nodiscard]] std::size_t of(std::int64_t row) const;
  /// Whether their tables are; they are of one kind.
  [[nodiscard]] bool collective() const { return models.front()->table().collective(); }
};

}  // namespace decant::trainer
