// Generates the teacher's soft labels, data-parallel: parts are dealt to ranks, blocks of a part to threads.
#pragma once

#include "data/dataset.h"
#include "data/label_store.h"
#include "models/model.h"
#include "trainer/context.h"

namespace decant::trainer {

struct LabelResult {
  std::int64_t positions = 0;       // labelled in all
  std::int64_t labelled_now = 0;    // by this run; the rest was there
  double positions_per_second = 0;  // of this run, over all ranks; 0: nothing was labelled
  std::int64_t bytes = 0;           // of the store on disk
};

/// Writes the label store of `spec` to `folder`, continuing where a run with the same key was cut. Collective.
LabelResult label_dataset(models::SequenceModel& teacher, const data::Dataset& dataset, const data::LabelSpec& spec,
                          const std::filesystem::path& folder, Context& context);

}  // namespace decant::trainer
