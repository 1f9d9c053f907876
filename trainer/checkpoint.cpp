#include "trainer/checkpoint.h"

#include <algorithm>

#include "base/files.h"
#include "models/tensor_pieces.h"
#include "trainer/errors.h"

namespace decant::trainer {
namespace {

CheckpointError damaged(const base::FileError& error) {
  return {error.path(), std::string(error.what()).substr(error.path().size() + 2) +
                            "; remove the folder to start from an older state"};
}

/// Version 1 had all tensors in one file.
std::vector<models::PiecedTensor> tensors_of(const base::Json& manifest) {
  std::vector<models::PiecedTensor> out;
  for (const auto& entry : manifest.at("tensors")) {
    models::PiecedTensor tensor{
        entry.at("name"), entry.at("dtype"), entry.at("shape").get<std::vector<std::int64_t>>(), {}};
    if (manifest.at("version") == 1)
      tensor.pieces.push_back(
          {entry.at("file"), 0, 1, tensor.shape.empty() ? 1 : tensor.shape.front(), entry.at("xxh3")});
    else
      for (const auto& piece : entry.at("pieces"))
        tensor.pieces.push_back(
            {piece.at("file"), piece.at("first"), piece.at("stride"), piece.at("rows"), piece.at("xxh3")});
    out.push_back(std::move(tensor));
  }
  return out;
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

std::vector<fs::path> checkpoint_folders(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::is_directory(folder)) return found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && name.find('.') == std::string::npos) found.push_back(entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

std::optional<Checkpoint> load_newest_checkpoint(const fs::path& folder, const std::string& key,
                                                 const std::vector<models::LogicalTensor>& targets) {
  for (const auto& path : checkpoint_folders(folder)) {
    try {
      const auto manifest = base::load_document(path / kCheckpointManifest, kCheckpointFormat, kCheckpointVersion);
      if (manifest.at("key").get<std::string>() != key) continue;
      models::load_pieces(path, tensors_of(manifest), targets);
      return Checkpoint{TrainState::from_json(manifest.at("state")), manifest.at("ranks"), manifest.at("threads"),
                        path};
    } catch (const base::FileError& error) {
      throw damaged(error);
    } catch (const nlohmann::json::exception& error) {
      throw CheckpointError((path / kCheckpointManifest).string(), std::string("lacks a field: ") + error.what());
    }
  }
  return std::nullopt;
}

std::vector<std::string> checkpoint_keys(const fs::path& folder) {
  std::vector<std::string> keys;
  for (const auto& path : checkpoint_folders(folder)) {
    try {
      keys.push_back(base::load_document(path / kCheckpointManifest, kCheckpointFormat, kCheckpointVersion).at("key"));
    } catch (const base::FileError& error) {
      throw damaged(error);
    }
  }
  return keys;
}

base::Json inspect_checkpoint(const fs::path& folder) {
  auto manifest = base::load_document(folder / kCheckpointManifest, kCheckpointFormat, kCheckpointVersion);
  models::load_pieces(folder, tensors_of(manifest), {}, models::Surplus::kPassedOver);
  return manifest;
}

}  // namespace decant::trainer
