// A finished model as files that other programs can use (docs/export.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/options.h"
#include "trainer/workspace.h"

namespace decant::trainer {

struct ExportOptions : base::Options {
  std::string side = "student";             // teacher | student | control
  std::string format = "safetensors,onnx";  // ONNX files read their weights from the safetensors file
  bool int8 = false;                        // beside the float32 files
  bool replace = false;                     // an export that is there already
  void describe(base::Fields& fields) override;
};

/// Writes the folder `to`, whole or not at all: weights, what is needed to rebuild the model, original ids, ONNX graphs.
/// With int8 it ranks valid and test by both forms and says what the rounding costs. Returns the folder's spec.json.
/// On the CPU, one rank. Throws ConfigError for a side that cannot be exported so and for a folder that may not be
/// replaced, CheckpointError for a model that is not finished.
[[nodiscard]] base::Json export_model(Workspace& space, const ExportOptions& options, const std::filesystem::path& to);

/// Columns that the model of a side takes.
[[nodiscard]] std::vector<std::string> columns_of(const Workspace& space, const std::string& side);

/// The finished model of a side ("teacher", "student", "control"). Throws CheckpointError when there is none.
[[nodiscard]] std::shared_ptr<models::SequenceModel> finished_model(Workspace& space, const std::string& side);

}  // namespace decant::trainer
