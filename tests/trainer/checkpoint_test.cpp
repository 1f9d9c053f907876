// What a run leaves on disk: checkpoints and the records of stages, whole, absent, damaged.
#include "trainer/checkpoint.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/trainer/support.h"
#include "trainer/errors.h"
#include "trainer/stage.h"

namespace decant::trainer {
namespace {

using testing_support::message_of;
using testing_support::TempFolder;

TrainState make_state(std::int64_t step) {
  TrainState state;
  state.step = step;
  state.position = {2, 77};
  state.best_value = 0.1 + 0.2;  // not a short decimal
  state.best_step = 30, state.best_epoch = 1, state.stale = 3, state.stopped_by = "patience";
  state.curve.push_back({{"step", 30}, {"ndcg@10", 1.0 / 3}});
  state.loss_sums = {1e300, 2.5}, state.loss_weights = {7, 1.0 / 7};
  return state;
}

models::NamedTensors make_tensors() {
  torch::manual_seed(3);
  return {{"parameter/a.weight", torch::randn({3, 5})},
          {"optimizer/a.weight/step", torch::tensor(41.0f)},
          {"optimizer/a.weight/first", torch::randn({3, 5}).to(torch::kFloat64)},
          {"parameter/empty", torch::zeros({0, 4})},
          {"parameter/ids", torch::arange(7)}};
}

class CheckpointTest : public testing::Test {
 protected:
  [[nodiscard]] CheckpointWriter writer(const std::string& key = "key") const {
    return {folder_.path(), key, 3, 2, nullptr};
  }
  [[nodiscard]] fs::path at(std::int64_t step) const {
    char name[32];
    std::snprintf(name, sizeof name, "step-%012lld", static_cast<long long>(step));
    return folder_ / name;
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_.path())) out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  TempFolder folder_;
};

TEST_F(CheckpointTest, RoundTrip) {
  const auto state = make_state(41);
  writer().write(state, make_tensors());
  const auto found = load_newest_checkpoint(folder_.path(), "key");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state.to_json().dump(), state.to_json().dump());
  EXPECT_EQ(found->state.best_value, state.best_value);
  EXPECT_EQ(found->state.loss_sums, state.loss_sums);
  EXPECT_EQ(found->state.position, state.position);
  EXPECT_EQ(found->ranks, 3);
  EXPECT_EQ(found->threads, 2);
  EXPECT_EQ(found->path, at(41));
  EXPECT_EQ(found->tensors.tensors.size(), make_tensors().size());
  for (const auto& [name, tensor] : make_tensors()) {
    const auto same = std::find_if(found->tensors.tensors.begin(), found->tensors.tensors.end(),
                                   [&, &key = name](const auto& other) { return other.first == key; });
    ASSERT_NE(same, found->tensors.tensors.end()) << name;
    EXPECT_EQ(same->second.scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(same->second.equal(tensor)) << name;
  }
  EXPECT_EQ(inspect_checkpoint(at(41)).at("state").at("step"), 41);
}

TEST_F(CheckpointTest, TheNewestOfAKeyIsKeptAlone) {
  EXPECT_FALSE(load_newest_checkpoint(folder_.path(), "key"));
  EXPECT_FALSE(load_newest_checkpoint(folder_ / "nothing", "key"));
  writer().write(make_state(9), make_tensors());
  writer().write(make_state(1000), make_tensors());
  EXPECT_EQ(names(), std::vector<std::string>{"step-000000001000"});
  EXPECT_EQ(load_newest_checkpoint(folder_.path(), "key")->state.step, 1000);
  EXPECT_FALSE(load_newest_checkpoint(folder_.path(), "another"));
}

TEST_F(CheckpointTest, WhatWasNotCommittedIsNotThere) {
  writer().write(make_state(5), make_tensors());
  for (const auto& [point, left] : {std::pair("checkpoint-write", 1), {"checkpoint-commit", 2}}) {
    const FaultPlan fault(std::string(point) + "@10:0:throw", 0);
    auto cut = writer();
    cut.faults = &fault;
    EXPECT_THROW(cut.write(make_state(10), make_tensors()), std::runtime_error);
    EXPECT_EQ(names(), (std::vector<std::string>{"step-000000000005", "step-000000000010.partial"}));
    const fs::path beside = folder_ / "step-000000000010.partial";
    EXPECT_EQ(std::distance(fs::directory_iterator(beside), fs::directory_iterator()), left) << point;
    EXPECT_EQ(load_newest_checkpoint(folder_.path(), "key")->state.step, 5);
  }
  writer().write(make_state(10), make_tensors());
  EXPECT_EQ(names(), std::vector<std::string>{"step-000000000010"});
}

TEST_F(CheckpointTest, EveryFlippedByteIsFound) {
  writer().write(make_state(5), make_tensors());
  for (const char* name : {"manifest.json", "tensors.safetensors"}) {
    const fs::path path = at(5) / name;
    const std::string whole = base::read_file(path);
    for (std::size_t i = 0; i < whole.size(); ++i)
      for (const char bit : {0x01, 0x10, 0x20}) {
        data::testing_support::poke(path, i, static_cast<char>(whole[i] ^ bit));
        try {
          static_cast<void>(load_newest_checkpoint(folder_.path(), "key"));
          ADD_FAILURE() << "bit " << int{bit} << " of byte " << i << " of " << name << " was not missed";
        } catch (const CheckpointError& error) {
          EXPECT_CONTAINS(error.what(), path.string());
        }
      }
    data::testing_support::poke(path, whole.size() - 1, whole.back());
    for (const std::size_t size : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      data::testing_support::write_text(path, whole.substr(0, size));
      EXPECT_THROW(static_cast<void>(load_newest_checkpoint(folder_.path(), "key")), CheckpointError) << size;
    }
    fs::remove(path);
    EXPECT_THROW(static_cast<void>(load_newest_checkpoint(folder_.path(), "key")), CheckpointError);
    data::testing_support::write_text(path, whole);
    EXPECT_TRUE(load_newest_checkpoint(folder_.path(), "key"));
  }
}

TEST_F(CheckpointTest, ANewerVersionIsRefused) {
  writer().write(make_state(5), make_tensors());
  auto manifest = base::load_document(at(5) / "manifest.json", "decant-checkpoint", 1);
  for (const char* own : {"format", "version", "checksum"}) manifest.erase(own);
  base::save_document(at(5) / "manifest.json", "decant-checkpoint", 2, manifest);
  EXPECT_CONTAINS(
      message_of<CheckpointError>([&] { static_cast<void>(load_newest_checkpoint(folder_.path(), "key")); }),
      "its version is 2");
}

TEST_F(CheckpointTest, TensorsOfAnotherCheckpointAreRefused) {
  writer().write(make_state(5), make_tensors());
  auto other = make_tensors();
  other[0].second.add_(1);
  models::save_weights(at(5) / "tensors.safetensors", other, {});
  EXPECT_CONTAINS(
      message_of<CheckpointError>([&] { static_cast<void>(load_newest_checkpoint(folder_.path(), "key")); }),
      "tensor 'parameter/a.weight' is damaged");
  other.erase(other.begin());
  models::save_weights(at(5) / "tensors.safetensors", other, {});
  EXPECT_CONTAINS(
      message_of<CheckpointError>([&] { static_cast<void>(load_newest_checkpoint(folder_.path(), "key")); }),
      "has no tensor 'parameter/a.weight'");
}

/// As a stage works: its folder, and its record beside it in "stages".
TEST(Stage, RecordsKeyStatusAndResult) {
  TempFolder folder;
  const fs::path stage = folder / "teacher";
  EXPECT_FALSE(read_stage(stage));
  begin_stage(stage, "one");
  EXPECT_EQ(read_stage(stage)->key, "one");
  EXPECT_FALSE(read_stage(stage)->done);
  EXPECT_TRUE(fs::exists(folder / "stages/teacher.json"));
  fs::create_directory(stage);
  data::testing_support::write_text(stage / "work", "half");
  begin_stage(stage, "one");
  EXPECT_TRUE(fs::exists(stage / "work")) << "the same key continues";
  finish_stage(stage, "one", {{"steps", 5}});
  EXPECT_TRUE(read_stage(stage)->done);
  EXPECT_EQ(read_stage(stage)->result.at("steps"), 5);
  EXPECT_FALSE(read_stage(folder / "student")) << "each stage has a record of its own";
}

TEST(Stage, AnotherKeyMovesTheOldAside) {
  TempFolder folder;
  const fs::path stage = folder / "teacher", previous = folder / "teacher.previous";
  for (const char* key : {"one", "two", "three"}) {
    begin_stage(stage, key);
    EXPECT_FALSE(fs::exists(stage / "work")) << key;
    fs::create_directory(stage);
    data::testing_support::write_text(stage / "work", key);
  }
  EXPECT_EQ(base::read_file(previous / "work"), "two");
  EXPECT_EQ(read_stage(stage)->key, "three");
}

TEST(Stage, EveryFlippedByteIsFound) {
  TempFolder folder;
  finish_stage(folder / "teacher", "key", {{"steps", 5}});
  const fs::path path = folder / "stages/teacher.json";
  const std::string whole = base::read_file(path);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    data::testing_support::poke(path, i, static_cast<char>(whole[i] ^ 0x01));
    EXPECT_CONTAINS(message_of<base::FileError>([&] { static_cast<void>(read_stage(folder / "teacher")); }),
                    path.string());
    data::testing_support::poke(path, i, whole[i]);
  }
}

TEST(Stage, KeysAreOfContent) {
  EXPECT_EQ(stage_key({{"a", 1}, {"b", 2.5}}), stage_key({{"a", 1}, {"b", 2.5}}));
  EXPECT_NE(stage_key({{"a", 1}}), stage_key({{"a", 2}}));
}

}  // namespace
}  // namespace decant::trainer
