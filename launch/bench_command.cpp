#include "launch/bench_command.h"

#include <filesystem>
#include <optional>

#include "base/files.h"
#include "launch/finished_run.h"
#include "trainer/bench.h"

namespace decant::launch {

base::Json bench_command(const CommandLine& line, const trainer::Registries& registries) {
  trainer::BenchOptions options;
  base::read_options(line.options, options);
  FinishedRun run(line, line.path, registries, "cpu");
  const std::filesystem::path folder = run.space().job.run.folder;
  std::optional<base::FolderLock> lock;
  if (std::filesystem::is_directory(folder))
    lock.emplace(folder);  // else there is nothing to time, which is told below
  auto bench = trainer::bench_models(run.space(), options);
  trainer::save_bench(folder, bench);
  return bench;
}

}  // namespace decant::launch
