// Stages of many runs, each kept once under its key, so that the trials of a sweep share what their keys allow.
#pragma once

#include <filesystem>
#include <string>

namespace decant::trainer {

namespace fs = std::filesystem;

/// `<folder>/<stage>-<key>/` and its record. A default pool is none: its calls do nothing. Leading rank only.
class StagePool {
 public:
  StagePool() = default;
  explicit StagePool(fs::path folder) : folder_(std::move(folder)) {}
  /// Makes `run_stage`, the stage's folder in a run, a link to the stage of this key, which may be done, begun or new,
  /// and gives the run its record.
  void link(const fs::path& run_stage, const std::string& stage, const std::string& key) const;
  /// Takes over the record of a stage that is finished.
  void keep(const fs::path& run_stage, const std::string& stage, const std::string& key) const;

 private:
  [[nodiscard]] fs::path place_of(const std::string& stage, const std::string& key) const;
  fs::path folder_;
};

}  // namespace decant::trainer
