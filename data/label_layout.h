// Names and rules of the label store that its writer, its reader and its inspection share (docs/file_formats.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/hdf5_file.h"
#include "data/label_store.h"

namespace decant::data {

inline constexpr char kLabelsFormat[] = "decant-labels";
inline constexpr int kLabelsVersion = 1;

inline constexpr char kIds[] = "/ids";
inline constexpr char kLogits[] = "/logits";
inline constexpr char kPeak[] = "/peak";
inline constexpr char kRestLse[] = "/rest_lse";
inline constexpr char kTargetLogit[] = "/target_logit";
inline constexpr char kTargetRank[] = "/target_rank";

/// Targets of one chunk of a part, which are read and cached together: small, since a shuffled order wants a few
/// neighbouring rows of each at a time.
inline constexpr std::int64_t kUnitTargets = 256;

/// Training targets of the dataset rows [first, last).
[[nodiscard]] std::int64_t targets_between(const Dataset& dataset, std::int64_t max_length, std::int64_t first,
                                           std::int64_t last);

/// Labels as they lie on disk.
struct LabelUnit {
  std::vector<std::uint32_t> ids;
  std::vector<Half> logits;
  std::vector<float> peak, rest_lse, target_logit, target_rank;
};

/// Reads targets [first, first + count) of a part and checks the ids. `blame_row`: the dataset row an error names.
[[nodiscard]] LabelUnit read_unit(const Hdf5File& file, const LabelSpec& spec, std::int64_t first, std::int64_t count,
                                  std::int64_t blame_row);

/// Throws DataError when the file is of another key, range, number of targets, k or number of temperatures.
void check_part(const Hdf5File& file, const LabelSpec& spec, const LabelPart& part);
/// Reads every byte of a part.
void verify_part(const Hdf5File& file, const LabelSpec& spec, const LabelPart& part);

}  // namespace decant::data
