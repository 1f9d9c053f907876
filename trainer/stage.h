// The record of a stage: key, status, result. It stands beside the stage's folder, as stages/<stage>.json of the run; of
// one of several (labels/<set>, teachers/<name>) as stages/labels/<set>.json.
// Written by the leading rank only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/options.h"

namespace decant::trainer {

namespace fs = std::filesystem;

struct StageRecord {
  std::string key;
  bool done = false;
  base::Json result = base::Json::object();
};

/// Where the record of the stage that works in `folder` is.
[[nodiscard]] fs::path record_path(const fs::path& folder);

/// The record of the stage that works in `folder`, or nothing when there is none. Throws FileError when it is damaged.
[[nodiscard]] std::optional<StageRecord> read_stage(const fs::path& folder);

/// Finished under `key`, with what it left still there: a folder that was deleted is made again.
[[nodiscard]] bool stage_done(const fs::path& folder, const std::string& key);

/// Makes `folder` ready for work under `key`: keeps what a run with the same key left, moves a folder of another key to
/// `<folder>.previous` (replacing the one before). Writes the record "running".
void begin_stage(const fs::path& folder, const std::string& key);

void finish_stage(const fs::path& folder, const std::string& key, base::Json result);

/// Hash of the parts that decide a stage's result. Never ranks, ports or paths.
[[nodiscard]] std::string stage_key(const base::Json& parts);

}  // namespace decant::trainer
