// Generates a teacher's soft labels, data-parallel: parts that are not there are dealt to ranks, blocks of a part to threads.
#pragma once

#include "data/dataset.h"
#include "data/label_store.h"
#include "models/model.h"
#include "trainer/context.h"
#include "trainer/folds.h"
#include "trainer/labels/label_kind.h"

namespace decant::trainer {

struct LabelResult {
  std::int64_t positions = 0;       // of the set
  std::int64_t labelled_now = 0;    // of them by this run; the rest was there
  std::int64_t parts_of_rank = 0;   // written by this rank in this run
  std::int64_t reused_rows = 0;     // taken over from a set of other events, row by row
  double positions_per_second = 0;  // of this run, over all ranks; 0: nothing was labelled
  double estimated_seconds = 0;     // what was said before
  std::int64_t bytes = 0;           // of the set on disk
};

/// What decides the width of a kind's columns, of this teacher and data.
[[nodiscard]] LabelShape label_shape(models::SequenceModel& teacher, const LabelKind& kind,
                                     const data::Dataset& dataset, data::Element values);

/// Seconds that labelling the whole dataset takes on `workers` threads in all, from one block of rows.
[[nodiscard]] double estimate_label_seconds(models::SequenceModel& teacher, const LabelKind& kind,
                                            const data::Dataset& dataset, const data::LabelSpec& spec,
                                            torch::Device device, int workers);

/// Writes the label set of `spec` to `folder`, continuing where a run with the same key was cut. Rows whose events a
/// finished set of the same recipe in `<folder>.previous` has seen are taken from there. Collective.
LabelResult label_dataset(const LabelTeachers& teachers, const LabelKind& kind, const data::Dataset& dataset,
                          const data::LabelSpec& spec, const std::filesystem::path& folder, Context& context);

}  // namespace decant::trainer
