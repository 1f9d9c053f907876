#include "launch/export_command.h"

#include <filesystem>

#include "launch/finished_run.h"
#include "trainer/export.h"

namespace decant::launch {

base::Json export_command(const CommandLine& line, const trainer::Registries& registries) {
  trainer::ExportOptions options;
  base::read_options(line.options, options);
  FinishedRun run(line, line.path, registries, "cpu");
  const auto spec = trainer::export_model(run.space(), options, line.out);
  base::Json out{{"folder", line.out}, {"side", spec.at("side")}, {"parameters", spec.at("parameters")}};
  for (const auto& [file, entry] : spec.at("weights").items()) out["files"][file] = entry.at("bytes");
  if (spec.at("onnx").is_object())
    for (const auto& [file, entry] : spec.at("onnx").items())
      out["files"][file] = std::filesystem::file_size(std::filesystem::path(line.out) / file);
  out["quality"] = spec.at("quality");
  return out;
}

}  // namespace decant::launch
