#include "trainer/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <functional>

#include "base/files.h"
#include "trainer/errors.h"

namespace decant::trainer {
namespace {

constexpr const char* kFormat = "decant-checkpoint";
constexpr int kVersion = 1;
constexpr const char* kTensors = "tensors.safetensors";
constexpr const char* kManifest = "manifest.json";

base::Json manifest_of(const CheckpointWriter& writer, const TrainState& state,
                       const std::vector<models::LogicalTensor>& tensors, const models::TensorHashes& hashes) {
  base::Json list = base::Json::array();
  for (const auto& tensor : tensors)
    list.push_back({{"name", tensor.name},
                    {"shape", tensor.shape},
                    {"dtype", std::string(c10::toString(tensor.type))},
                    {"file", kTensors},
                    {"xxh3", hashes.at(tensor.name)}});
  return {{"key", writer.key},
          {"ranks", writer.ranks},
          {"threads", writer.threads},
          {"state", state.to_json()},
          {"tensors", list}};
}

/// Folders named step-<number>, newest first.
std::vector<fs::path> steps_in(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.find('.') == std::string::npos) found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

CheckpointError damaged(const base::FileError& error) {
  return {error.path(), std::string(error.what()).substr(error.path().size() + 2) +
                            "; remove the folder to start from an older state"};
}

void verify(const base::Json& manifest, const models::TensorHashes& hashes, const fs::path& path) {
  for (const auto& entry : manifest.at("tensors")) {
    const auto name = entry.at("name").get<std::string>();
    const auto at = hashes.find(name);
    if (at == hashes.end())
      throw CheckpointError(path.string(), "has no tensor '" + name + "', which its manifest lists");
    if (at->second != entry.at("xxh3").get<std::string>())
      throw CheckpointError(path.string(), "tensor '" + name + "' is damaged (its hash differs from the manifest's)");
  }
}

models::TensorHashes hashes_of(const models::WeightsFile& file) {
  models::TensorHashes hashes;
  for (const auto& tensor : file.tensors) hashes[tensor.first] = models::hash_tensors({tensor});
  return hashes;
}

/// Takes what the file holds into the checkpoint or elsewhere, and tells its hashes.
using ReadTensors = std::function<models::TensorHashes(const fs::path& path, Checkpoint& found)>;

std::optional<Checkpoint> load_newest(const fs::path& folder, const std::string& key, const ReadTensors& read) {
  for (const auto& path : steps_in(folder)) {
    try {
      const auto manifest = base::load_document(path / kManifest, kFormat, kVersion);
      if (manifest.at("key").get<std::string>() != key) continue;
      Checkpoint found{
          TrainState::from_json(manifest.at("state")), {}, manifest.at("ranks"), manifest.at("threads"), path};
      verify(manifest, read(path / kTensors, found), path / kTensors);
      return found;
    } catch (const base::FileError& error) {
      throw damaged(error);
    } catch (const nlohmann::json::exception& error) {
      throw CheckpointError((path / kManifest).string(), std::string("lacks a field: ") + error.what());
    }
  }
  return std::nullopt;
}

}  // namespace

base::Json TrainState::to_json() const {
  base::Json tree{{"step", step},
                  {"first_step", first_step},
                  {"first_epoch", first_epoch},
                  {"epoch", position.epoch},
                  {"row", position.row},
                  {"best_value", best_value},
                  {"best_step", best_step},
                  {"best_epoch", best_epoch},
                  {"stale", stale},
                  {"stopped_by", stopped_by},
                  {"curve", curve},
                  {"counts", counts},
                  {"finished", finished},
                  {"loss_sums", loss_sums},
                  {"loss_weights", loss_weights}};
  if (!scales.empty()) tree["scales"] = scales;
  if (skipped > 0) tree["skipped"] = {{"all", skipped}, {"in_row", skipped_in_row}};
  return tree;
}

TrainState TrainState::from_json(const base::Json& tree) {
  TrainState state;
  state.step = tree.at("step");
  state.first_step = tree.value("first_step", std::int64_t{0});  // absent before there were stages
  state.first_epoch = tree.value("first_epoch", std::int64_t{0});
  state.position = {tree.at("epoch"), tree.at("row")};
  state.best_value = tree.at("best_value");
  state.best_step = tree.at("best_step");
  state.best_epoch = tree.at("best_epoch");
  state.stale = tree.at("stale");
  state.stopped_by = tree.at("stopped_by");
  state.curve = tree.at("curve");
  state.counts = tree.value("counts", base::Json::object());
  state.finished = tree.value("finished", base::Json::array());
  state.loss_sums = tree.at("loss_sums").get<std::vector<double>>();
  state.loss_weights = tree.at("loss_weights").get<std::vector<double>>();
  state.scales = tree.value("scales", std::vector<double>());
  if (tree.contains("skipped")) {
    state.skipped = tree.at("skipped").at("all");
    state.skipped_in_row = tree.at("skipped").at("in_row");
  }
  return state;
}

void CheckpointWriter::write(const TrainState& state, const models::NamedTensors& tensors) const {
  write(state, models::whole_tensors(tensors), true);
}

void CheckpointWriter::write(const TrainState& state, const std::vector<models::LogicalTensor>& tensors,
                             bool writes) const {
  char name[32];
  std::snprintf(name, sizeof name, "step-%012lld", static_cast<long long>(state.step));
  const fs::path final_path = folder / name, beside = folder / (std::string(name) + ".partial");
  if (!writes) {
    static_cast<void>(models::save_tensors(beside / kTensors, tensors, {}, false));
    return;
  }
  fs::remove_all(beside);
  fs::create_directories(beside);
  const auto hashes = models::save_tensors(beside / kTensors, tensors, {});
  if (faults) faults->at("checkpoint-write", state.step);
  base::save_document(beside / kManifest, kFormat, kVersion, manifest_of(*this, state, tensors, hashes));
  if (faults) faults->at("checkpoint-commit", state.step);
  base::replace_path(beside, final_path);
  for (const auto& older : steps_in(folder))
    if (older != final_path) fs::remove_all(older);
}

std::optional<Checkpoint> load_newest_checkpoint(const fs::path& folder, const std::string& key) {
  return load_newest(folder, key, [](const fs::path& path, Checkpoint& found) {
    found.tensors = models::load_weights(path);
    return hashes_of(found.tensors);
  });
}

std::optional<Checkpoint> load_newest_checkpoint(const fs::path& folder, const std::string& key,
                                                 const std::vector<models::LogicalTensor>& targets) {
  return load_newest(folder, key,
                     [&](const fs::path& path, Checkpoint&) { return models::load_tensors(path, targets); });
}

std::vector<std::string> checkpoint_keys(const fs::path& folder) {
  std::vector<std::string> keys;
  for (const auto& path : steps_in(folder)) {
    try {
      keys.push_back(base::load_document(path / kManifest, kFormat, kVersion).at("key"));
    } catch (const base::FileError& error) {
      throw damaged(error);
    }
  }
  return keys;
}

base::Json inspect_checkpoint(const fs::path& folder) {
  const auto manifest = base::load_document(folder / kManifest, kFormat, kVersion);
  verify(manifest, hashes_of(models::load_weights(folder / kTensors)), folder / kTensors);
  return manifest;
}

}  // namespace decant::trainer
