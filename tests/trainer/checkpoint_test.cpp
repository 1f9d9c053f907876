// What a run leaves on disk: checkpoints and the records of stages, whole, absent, damaged.
#include "trainer/checkpoint_writer.h"

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

/// Of the same names, shapes and dtypes, without the values.
models::NamedTensors make_room() {
  auto room = make_tensors();
  for (auto& [name, tensor] : room) tensor.zero_();
  return room;
}

class CheckpointTest : public testing::Test {
 protected:
  [[nodiscard]] CheckpointOptions options(const std::string& key = "key") const {
    CheckpointOptions out;
    out.folder = folder_.path();
    out.key = key;
    out.threads = 2;
    return out;
  }
  void write(const TrainState& state, const models::NamedTensors& tensors) { write(state, tensors, options()); }
  void write(const TrainState& state, const models::NamedTensors& tensors, const CheckpointOptions& options) {
    CheckpointWriter writer(options, *single_);
    writer.begin(state, models::whole_tensors(tensors));
    writer.finish();
  }
  [[nodiscard]] std::optional<Checkpoint> load(const std::string& key = "key") const {
    return load_newest_checkpoint(folder_.path(), key, models::whole_tensors(make_room()));
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
  std::unique_ptr<dist::Communicator> single_ = dist::make_single_communicator(torch::kCPU);
};

constexpr const char* kPieces = "tensors-0-of-1.safetensors";

TEST_F(CheckpointTest, RoundTrip) {
  const auto state = make_state(41);
  write(state, make_tensors());
  const auto room = make_room();
  const auto found = load_newest_checkpoint(folder_.path(), "key", models::whole_tensors(room));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->state.to_json().dump(), state.to_json().dump());
  EXPECT_EQ(found->state.best_value, state.best_value);
  EXPECT_EQ(found->state.loss_sums, state.loss_sums);
  EXPECT_EQ(found->state.position, state.position);
  EXPECT_EQ(found->ranks, 1);
  EXPECT_EQ(found->threads, 2);
  EXPECT_EQ(found->path, at(41));
  const auto tensors = make_tensors();
  for (std::size_t i = 0; i < tensors.size(); ++i)
    EXPECT_TRUE(room[i].second.equal(tensors[i].second)) << tensors[i].first;
  EXPECT_EQ(inspect_checkpoint(at(41)).at("state").at("step"), 41);
}

/// Training changes the tensors while the thread writes what they were.
TEST_F(CheckpointTest, WhatIsWrittenIsACopy) {
  auto tensors = make_tensors();
  CheckpointWriter writer(options(), *single_);
  for (int step = 1; step <= 3; ++step) {
    writer.begin(make_state(step), models::whole_tensors(tensors));
    for (auto& [name, tensor] : tensors) tensor.add_(1);
  }
  writer.finish();
  EXPECT_FALSE(writer.written()) << "nothing is on its way";
  const auto room = make_room();
  ASSERT_TRUE(load_newest_checkpoint(folder_.path(), "key", models::whole_tensors(room)));
  for (std::size_t i = 0; i < room.size(); ++i)
    EXPECT_TRUE(room[i].second.equal(make_tensors()[i].second + 1 + 1)) << room[i].first;
}

TEST_F(CheckpointTest, TheNewestAreKept) {
  EXPECT_FALSE(load());
  EXPECT_FALSE(load_newest_checkpoint(folder_ / "nothing", "key", {}));
  write(make_state(9), make_tensors());
  write(make_state(1000), make_tensors());
  EXPECT_EQ(names(), std::vector<std::string>{"step-000000001000"});
  EXPECT_EQ(load()->state.step, 1000);
  EXPECT_FALSE(load("another"));
  auto two = options();
  two.keep_last = 2;
  write(make_state(1001), make_tensors(), two);
  write(make_state(1002), make_tensors(), two);
  EXPECT_EQ(names(), (std::vector<std::string>{"step-000000001001", "step-000000001002"}));
}

TEST_F(CheckpointTest, TheBestIsKeptBeside) {
  auto best = options();
  best.keep_best = true;
  for (const std::int64_t step : {20, 30, 40, 50}) write(make_state(step), make_tensors(), best);  // the best is 30
  EXPECT_EQ(names(), (std::vector<std::string>{"step-000000000030", "step-000000000050"}));
  auto better = make_state(60);
  better.best_step = 60;
  write(better, make_tensors(), best);
  EXPECT_EQ(names(), std::vector<std::string>{"step-000000000060"});
}

TEST_F(CheckpointTest, WhatWasNotCommittedIsNotThere) {
  write(make_state(5), make_tensors());
  for (const auto& [point, left] : {std::pair("checkpoint-write", 1), {"checkpoint-commit", 2}}) {
    const FaultPlan fault(std::string(point) + "@10:0:throw", 0);
    auto cut = options();
    cut.faults = &fault;
    EXPECT_THROW(write(make_state(10), make_tensors(), cut), std::runtime_error);
    EXPECT_EQ(names(), (std::vector<std::string>{"step-000000000005", "step-000000000010.partial"}));
    const fs::path beside = folder_ / "step-000000000010.partial";
    EXPECT_EQ(std::distance(fs::directory_iterator(beside), fs::directory_iterator()), left) << point;
    EXPECT_EQ(load()->state.step, 5);
  }
  CheckpointWriter(options(), *single_).clear();
  EXPECT_EQ(names(), std::vector<std::string>{"step-000000000005"});
}

/// What fails in the thread is thrown on the training's own.
TEST_F(CheckpointTest, AFailureOfTheThreadIsThrown) {
  auto in_a_file = options();
  in_a_file.folder = folder_ / "file";
  data::testing_support::write_text(in_a_file.folder, "no folder");
  CheckpointWriter writer(in_a_file, *single_);
  writer.begin(make_state(5), models::whole_tensors(make_tensors()));
  EXPECT_CONTAINS(message_of<base::FileError>([&] { writer.finish(); }), "step-000000000005.partial");
}

TEST_F(CheckpointTest, EveryFlippedByteIsFound) {
  write(make_state(5), make_tensors());
  for (const char* name : {"manifest.json", kPieces}) {
    const fs::path path = at(5) / name;
    const std::string whole = base::read_file(path);
    for (std::size_t i = 0; i < whole.size(); ++i)
      for (const char bit : {0x01, 0x10, 0x20}) {
        data::testing_support::poke(path, i, static_cast<char>(whole[i] ^ bit));
        try {
          static_cast<void>(load());
          ADD_FAILURE() << "bit " << int{bit} << " of byte " << i << " of " << name << " was not missed";
        } catch (const CheckpointError& error) {
          EXPECT_CONTAINS(error.what(), path.string());
        }
      }
    data::testing_support::poke(path, whole.size() - 1, whole.back());
    for (const std::size_t size : {std::size_t{0}, whole.size() / 2, whole.size() - 1}) {
      data::testing_support::write_text(path, whole.substr(0, size));
      EXPECT_THROW(static_cast<void>(load()), CheckpointError) << size;
    }
    fs::remove(path);
    EXPECT_THROW(static_cast<void>(load()), CheckpointError);
    data::testing_support::write_text(path, whole);
    EXPECT_TRUE(load());
  }
}

base::Json without_head(base::Json manifest) {
  for (const char* own : {"format", "version", "checksum"}) manifest.erase(own);
  return manifest;
}

TEST_F(CheckpointTest, ANewerVersionIsRefused) {
  write(make_state(5), make_tensors());
  const auto manifest =
      without_head(base::load_document(at(5) / "manifest.json", kCheckpointFormat, kCheckpointVersion));
  base::save_document(at(5) / "manifest.json", kCheckpointFormat, kCheckpointVersion + 1, manifest);
  EXPECT_CONTAINS(message_of<CheckpointError>([&] { static_cast<void>(load()); }),
                  "its version is " + std::to_string(kCheckpointVersion + 1));
}

/// As decant wrote it before there were pieces.
TEST_F(CheckpointTest, VersionOneIsRead) {
  const auto tensors = make_tensors();
  const auto hashes = models::save_tensors(at(5) / "tensors.safetensors", models::whole_tensors(tensors), {});
  base::Json list = base::Json::array();
  for (const auto& [name, tensor] : tensors)
    list.push_back({{"name", name},
                    {"shape", tensor.sizes().vec()},
                    {"dtype", std::string(c10::toString(tensor.scalar_type()))},
                    {"file", "tensors.safetensors"},
                    {"xxh3", hashes.at(name)}});
  base::save_document(
      at(5) / "manifest.json", kCheckpointFormat, 1,
      {{"key", "key"}, {"ranks", 3}, {"threads", 2}, {"state", make_state(5).to_json()}, {"tensors", list}});
  const auto room = make_room();
  const auto found = load_newest_checkpoint(folder_.path(), "key", models::whole_tensors(room));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->ranks, 3);
  EXPECT_EQ(found->state.to_json().dump(), make_state(5).to_json().dump());
  for (std::size_t i = 0; i < room.size(); ++i) EXPECT_TRUE(room[i].second.equal(tensors[i].second)) << room[i].first;
}

TEST_F(CheckpointTest, TensorsOfAnotherCheckpointAreRefused) {
  write(make_state(5), make_tensors());
  const auto refused = [&] { return message_of<CheckpointError>([&] { static_cast<void>(load()); }); };
  auto other = make_tensors();
  other[0].second.add_(1);
  models::save_weights(at(5) / kPieces, other, {});
  EXPECT_CONTAINS(refused(), "tensor 'parameter/a.weight' is damaged");
  other = make_tensors();
  other.emplace_back("parameter/z", torch::ones({2}, torch::kBool));  // the last one in the file
  models::save_weights(at(5) / kPieces, other, {});
  EXPECT_CONTAINS(refused(), "has a tensor 'parameter/z', which its manifest does not list");
  other.erase(other.begin());
  models::save_weights(at(5) / kPieces, other, {});
  EXPECT_CONTAINS(refused(), "has no tensor 'parameter/a.weight'");
}

TEST_F(CheckpointTest, TensorsThatAreNotWantedAreRefused) {
  write(make_state(5), make_tensors());
  auto fewer = make_room();
  fewer.pop_back();
  const auto load_into = [&](const models::NamedTensors& room) {
    return message_of<CheckpointError>(
        [&] { static_cast<void>(load_newest_checkpoint(folder_.path(), "key", models::whole_tensors(room))); });
  };
  EXPECT_CONTAINS(load_into(fewer), "tensor 'parameter/ids': it is not wanted here");
  auto wider = make_room();
  wider[0].second = torch::zeros({3, 6});
  EXPECT_CONTAINS(load_into(wider), "tensor 'parameter/a.weight': it is Float[3, 5], not Float[3, 6]");
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
