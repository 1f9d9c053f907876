// Models that come whole from a file: they can be asked, and not be trained.
#pragma once

#include <string>

#include "base/options.h"

namespace decant::models {

/// Options of such a model derive from these.
struct ReadyModelOptions : base::Options {
  std::string file;
};

/// The file that the model comes from; "" for one that is trained here.
[[nodiscard]] inline std::string ready_file(const base::Options* model_options) {
  const auto* ready = dynamic_cast<const ReadyModelOptions*>(model_options);
  return ready == nullptr ? "" : ready->file;
}

/// Whether it can only be asked, file given or not.
[[nodiscard]] inline bool is_ready_model(const base::Options* model_options) {
  return dynamic_cast<const ReadyModelOptions*>(model_options) != nullptr;
}

}  // namespace decant::models
