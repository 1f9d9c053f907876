#include "trainer/stage.h"

#include "base/files.h"
#include "base/hash.h"

namespace decant::trainer {
namespace {

constexpr const char* kFormat = "decant-stage";
constexpr int kVersion = 1;

}  // namespace

fs::path record_path(const fs::path& folder) {
  const fs::path group = folder.parent_path().filename(), file = folder.filename().string() + ".json";
  if (group == "labels" || group == "teachers" || group == "gates")
    return folder.parent_path().parent_path() / "stages" / group / file;
  return folder.parent_path() / "stages" / file;
}

std::optional<StageRecord> read_stage(const fs::path& folder) {
  const fs::path path = record_path(folder);
  if (!fs::exists(path)) return std::nullopt;
  const auto document = base::load_document(path, kFormat, kVersion);
  return StageRecord{document.at("key"), document.at("status") == "done", document.at("result")};
}

bool stage_done(const fs::path& folder, const std::string& key) {
  const auto record = read_stage(folder);
  return record && record->done && record->key == key &&
         (fs::exists(folder / "manifest.json") || fs::exists(folder / "weights.safetensors"));
}

void begin_stage(const fs::path& folder, const std::string& key) {
  const auto before = read_stage(folder);
  if (before && before->key != key && fs::exists(folder)) {
    fs::path aside = folder;
    aside += ".previous";
    fs::remove_all(aside);
    base::replace_path(folder, aside);
  }
  base::save_document(record_path(folder), kFormat, kVersion,
                      {{"key", key}, {"status", "running"}, {"result", base::Json::object()}});
}

void finish_stage(const fs::path& folder, const std::string& key, base::Json result) {
  base::save_document(record_path(folder), kFormat, kVersion,
                      {{"key", key}, {"status", "done"}, {"result", std::move(result)}});
}

std::string stage_key(const base::Json& parts) { return base::hash_hex(parts.dump()); }

}  // namespace decant::trainer
