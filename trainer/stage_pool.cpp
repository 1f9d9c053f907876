#include "trainer/stage_pool.h"

#include <algorithm>

#include "base/files.h"
#include "trainer/stage.h"

namespace decant::trainer {

fs::path StagePool::place_of(const std::string& stage, const std::string& key) const {
  std::string name = stage;
  std::replace(name.begin(), name.end(), '/', '_');
  return folder_ / (name + "-" + key);
}

void StagePool::link(const fs::path& run_stage, const std::string& stage, const std::string& key) const {
  if (folder_.empty()) return;
  const fs::path place = place_of(stage, key);
  fs::create_directories(place);
  fs::create_directories(run_stage.parent_path());
  const fs::path target = fs::relative(place, run_stage.parent_path());
  if (!fs::is_symlink(run_stage) || fs::read_symlink(run_stage) != target) {
    fs::remove_all(run_stage);  // of a link, the link alone
    fs::create_directory_symlink(target, run_stage);
  }
  const fs::path record = record_path(run_stage);
  if (fs::exists(record_path(place)))
    base::write_file(record, base::read_file(record_path(place)));
  else if (const auto before = read_stage(run_stage); before && before->key != key)
    fs::remove(record);
}

void StagePool::keep(const fs::path& run_stage, const std::string& stage, const std::string& key) const {
  if (folder_.empty()) return;
  base::write_file(record_path(place_of(stage, key)), base::read_file(record_path(run_stage)));
}

}  // namespace decant::trainer
