// `decant inspect`: what is in a file or folder of decant's.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/options.h"

namespace decant::launch {

struct InspectOptions : base::Options {
  std::int64_t most_frequent = 0;  // of a dataset: items with most events in training, by id
  void describe(base::Fields& fields) override;
};

/// A dataset, a label set, a checkpoint, a weights file or a run folder, verified as far as its format allows.
/// Throws ConfigError when it is none of these or has no items to list, and the errors of the module that owns it when it is damaged.
[[nodiscard]] base::Json inspect(const std::filesystem::path& path, const InspectOptions& options = {});

}  // namespace decant::launch
