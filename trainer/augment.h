// Augmented views of packed rows: crop, mask, reorder (CL4SRec, Xie et al. 2022).
#pragma once

#include <cstdint>

#include "data/packed_batch.h"
#include "trainer/recipe_options.h"

namespace decant::trainer {

/// The batch with some of its rows changed, as a function of (step_key, row). A row's events, the last target among
/// them, are cropped to one piece, thinned out (there is no mask token), or shuffled in one piece; inputs and targets
/// follow. A row keeps two events at least, so every row with a target keeps one. Every input must have a target.
[[nodiscard]] data::PackedBatch augment(const data::PackedBatch& batch, const AugmentOptions& options,
                                        std::uint64_t step_key);

}  // namespace decant::trainer
