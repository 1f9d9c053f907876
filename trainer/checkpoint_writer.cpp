#include "trainer/checkpoint_writer.h"

#include <ATen/ops/empty_like.h>

#include <chrono>
#include <cstdio>

#include "base/files.h"

namespace decant::trainer {
namespace {

fs::path folder_of(const fs::path& folder, std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%012lld", static_cast<long long>(step));
  return folder / name;
}

fs::path beside(const fs::path& path) { return path.string() + ".partial"; }

std::string file_of(int rank, int ranks) {
  return "tensors-" + std::to_string(rank) + "-of-" + std::to_string(ranks) + ".safetensors";
}

template <typename T>
bool ready(const std::future<T>& future) {
  return !future.valid() || future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

/// Room for a copy on the host; page-locked for what comes from a GPU.
torch::Tensor room_for(const torch::Tensor& values) {
  return torch::empty(values.sizes(),
                      torch::dtype(values.scalar_type()).device(torch::kCPU).pinned_memory(values.is_cuda()));
}

bool fits(const torch::Tensor& room, const torch::Tensor& values) {
  return room.sizes() == values.sizes() && room.scalar_type() == values.scalar_type();
}

}  // namespace

void CheckpointWriter::clear() {
  if (communicator_.rank() == 0 && fs::is_directory(options_.folder)) {
    std::vector<fs::path> cut;
    for (const auto& entry : fs::directory_iterator(options_.folder))
      if (entry.path().extension() == ".partial") cut.push_back(entry.path());
    for (const auto& path : cut) fs::remove_all(path);
  }
  communicator_.barrier();
}

void CheckpointWriter::begin(const TrainState& state, const std::vector<models::LogicalTensor>& tensors) {
  if (pending_) commit();
  Pending next{state, base::Json::array(), models::deal_rows(tensors, communicator_.size()), {}, {}};
  for (const auto& tensor : tensors) {
    next.names.push_back(tensor.name);
    next.tensors.push_back({{"name", tensor.name},
                            {"shape", tensor.shape},
                            {"dtype", std::string(c10::toString(tensor.type))},
                            {"pieces", base::Json::array()}});
  }
  auto share = copy_share(tensors, next.shares);
  const auto path =
      beside(folder_of(options_.folder, state.step)) / file_of(communicator_.rank(), communicator_.size());
  if (!share.empty())
    next.writing =
        std::async(std::launch::async, [share = std::move(share), path, step = state.step, faults = options_.faults] {
          auto hashes = models::save_tensors(path, models::whole_tensors(share), {});
          if (faults != nullptr) faults->at("checkpoint-write", step);
          return hashes;
        });
  pending_ = std::move(next);
}

models::NamedTensors CheckpointWriter::copy_share(const std::vector<models::LogicalTensor>& tensors,
                                                  const std::vector<models::Share>& shares) {
  const torch::NoGradGuard no_grad;
  models::NamedTensors out;
  for (const auto& share : shares) {
    if (share.rank != communicator_.rank()) continue;
    const auto rows = models::rows_of(tensors[share.tensor], share);
    const std::size_t place = out.size();
    if (place == buffers_.size()) buffers_.emplace_back();
    if (!buffers_[place].defined() || !fits(buffers_[place], rows)) buffers_[place] = room_for(rows);
    buffers_[place].copy_(rows);
    out.emplace_back(tensors[share.tensor].name, buffers_[place]);
  }
  return out;
}

bool CheckpointWriter::written() {
  check_committed();
  return pending_ && ready(pending_->writing);
}

void CheckpointWriter::check_committed() {
  if (committing_.valid() && ready(committing_)) committing_.get();
}

void CheckpointWriter::commit() {
  auto done = std::move(*pending_);
  pending_.reset();
  const auto hashes = done.writing.valid() ? done.writing.get() : models::TensorHashes();
  const auto all = communicator_.gather_bytes(base::Json(hashes).dump());
  if (communicator_.rank() != 0) return;
  if (committing_.valid()) committing_.get();
  committing_ = std::async(std::launch::async,
                           [this, made = manifest(done, all), state = std::move(done.state)] { seal(made, state); });
}

base::Json CheckpointWriter::manifest(const Pending& done, const std::vector<std::string>& hashes) const {
  std::vector<base::Json> by_rank;
  by_rank.reserve(hashes.size());
  for (const auto& text : hashes) by_rank.push_back(base::Json::parse(text));
  auto tensors = done.tensors;
  for (const auto& share : done.shares)
    tensors[share.tensor]["pieces"].push_back(
        {{"file", file_of(share.rank, communicator_.size())},
         {"first", share.first},
         {"stride", share.stride},
         {"rows", share.rows},
         {"xxh3", by_rank[static_cast<std::size_t>(share.rank)].at(done.names[share.tensor])}});
  return {{"key", options_.key},
          {"ranks", communicator_.size()},
          {"threads", options_.threads},
          {"state", done.state.to_json()},
          {"tensors", tensors}};
}

void CheckpointWriter::seal(const base::Json& manifest, const TrainState& state) const {
  const auto path = folder_of(options_.folder, state.step);
  base::save_document(beside(path) / kCheckpointManifest, kCheckpointFormat, kCheckpointVersion, manifest);
  if (options_.faults != nullptr) options_.faults->at("checkpoint-commit", state.step);
  base::replace_path(beside(path), path);
  remove_older(state);
}

void CheckpointWriter::remove_older(const TrainState& state) const {
  const auto best = folder_of(options_.folder, state.best_step);
  std::int64_t kept = 0;
  for (const auto& path : checkpoint_folders(options_.folder)) {
    if (++kept <= options_.keep_last || (options_.keep_best && path == best)) continue;
    fs::rename(path, beside(path));  // a death while it goes leaves none that looks whole
    fs::remove_all(beside(path));
  }
}

void CheckpointWriter::finish() {
  if (pending_) commit();
  if (committing_.valid()) committing_.get();
  communicator_.barrier();
}

}  // namespace decant::trainer
