// A job whose tables are sharded over ranks against the same job with whole tables in one process: training with every
// recipe, labels, evaluation, and a training that goes on at another number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "base/files.h"
#include "data/import.h"
#include "data/label_store.h"
#include "data/synthesize.h"
#include "models/weights_file.h"
#include "tests/multirank/parity_support.h"
#include "trainer/pipeline.h"

namespace decant::multirank {
namespace {

using base::Json;
using dist::Communicator;

constexpr double kMetricTolerance = 3e-3;  // a rank that moves by one place

/// One process's share of a run.
struct Process {
  Process(Communicator& communicator, const fs::path& folder, const Json& tree, const std::string& fault = "")
      : place(communicator, folder, 1, fault), job(registries) {
    auto all = tree;
    all["run"]["folder"] = folder.string();
    base::read_options(all, job);
    pipeline = std::make_unique<trainer::Pipeline>(job, registries, place.context);
  }
  trainer::Registries registries = trainer::default_registries();
  Place place;
  trainer::JobOptions job;
  std::unique_ptr<trainer::Pipeline> pipeline;
};

Json side(std::int64_t dim) {
  return {{"model", {{"type", "sasrec"}, {"dim", dim}, {"layers", 1}, {"max_length", 20}, {"dropout", 0.2}}},
          {"optimizer", {{"type", "adamw"}, {"lr", 0.01}, {"weight_decay", 0.01}}},
          {"train", {{"max_steps", 5}, {"patience", 0}, {"clip_norm", 0.05}, {"checkpoint_steps", 2}}}};
}

Json with(Json tree, const Json& changes) {
  tree.merge_patch(changes);
  return tree;
}

const Json kSharded = {{"teacher", {{"model", {{"table", {{"kind", "sharded"}}}}}}},
                       {"student", {{"model", {{"table", {{"kind", "sharded"}}}}}}}};

class ShardedJob : public testing::Test {
 protected:
  /// Rank 0 makes a dataset of ragged rows and runs the job with whole tables.
  static void SetUpTestSuite() {
    folder_ = make_shared_folder("decant-sharded");
    alone([](Communicator&) {
      data::SynthesizeOptions log;
      log.users = 700, log.items = 211, log.mean_length = 9;
      data::synthesize(log, folder_ / "log.txt");
      data::ImportOptions import;
      import.files = {(folder_ / "log.txt").string()};
      static_cast<void>(data::import_dataset(import, folder_ / "dataset"));
    });
    job_ = {{"data", {{"dataset", (folder_ / "dataset").string()}}},
            {"batch", {{"sequences", 120}, {"accumulate", 2}, {"rank_tokens", 300}}},
            {"teacher", with(side(16), {{"gate", "warn"}})},
            {"student", side(16)},
            {"labels", {{"k", 12}, {"temperatures", {1, 2}}, {"sets", {{"hidden", {{"kind", "hidden"}}}}}}},
            {"losses",
             {{"ce", {{"weight", 1}}},
              {"kl_tail", {{"weight", 0.7}, {"temperature", 2}}},
              {"logit_std", {{"weight", 0.1}}},
              {"rd", {{"weight", 0.1}, {"depth", 5}, {"drawn", 20}}}}}};
    alone([&](Communicator& one) { Process(one, folder_ / "whole", job_).pipeline->run(); });
    job_["teacher"]["weights"] = (folder_ / "whole/teacher/weights.safetensors").string();
  }
  static void TearDownTestSuite() { remove_shared_folder(folder_); }

  static void expect_close(const fs::path& path, const fs::path& other) {
    const Gap gap = gap_of(models::load_weights(folder_ / path).tensors, models::load_weights(folder_ / other).tensors);
    tell("sharded tables", path.parent_path().string(), gap);
    expect_within_tolerance(gap, path.string());
  }

  /// The student, or the control, of the job with `changes`, with whole tables in one process and with sharded ones.
  static void expect_parity(const std::string& name, const Json& changes, const std::string& stage = "student") {
    const auto train = [&](Communicator& communicator, const std::string& folder, const Json& tree) {
      Process run(communicator, folder_ / folder, tree);
      run.pipeline->train_teacher();
      stage == "student" ? run.pipeline->train_student() : run.pipeline->train_control();
    };
    const auto made = [&](const char* set) { return (folder_ / "whole/labels" / set).string(); };
    auto job =
        with(job_, {{"labels", {{"folder", made("teacher")}, {"sets", {{"hidden", {{"folder", made("hidden")}}}}}}}});
    job = with(job, changes);
    alone([&](Communicator& one) { train(one, name + "-whole", job); });
    train(world(), name, with(job, kSharded));
    expect_close(name + "/" + stage + "/weights.safetensors", name + "-whole/" + stage + "/weights.safetensors");
  }

  static fs::path folder_;
  static Json job_;
};
fs::path ShardedJob::folder_;
Json ShardedJob::job_;

/// Columns of a set, end to end.
std::map<std::string, std::vector<std::byte>> columns_of(const fs::path& folder) {
  std::map<std::string, std::vector<std::byte>> out;
  data::walk_labels(folder, [&](const fs::path&, std::int64_t, const data::LabelRows& rows) {
    for (std::size_t c = 0; c < rows.columns.size(); ++c) {
      auto& column = out[rows.spec->columns[c].name];
      column.insert(column.end(), rows.columns[c].begin(), rows.columns[c].end());
    }
  });
  return out;
}

double largest_gap(const std::vector<std::byte>& a, const std::vector<std::byte>& b) {
  double gap = 0;
  for (std::size_t at = 0; at < std::min(a.size(), b.size()); at += sizeof(float)) {
    float x = 0, y = 0;
    std::memcpy(&x, a.data() + at, sizeof x);
    std::memcpy(&y, b.data() + at, sizeof y);
    gap = std::max(gap, std::abs(static_cast<double>(x) - y) / std::max(1.0, std::abs(static_cast<double>(y))));
  }
  return gap;
}

TEST_F(ShardedJob, TheWholeJob) {
  Process(world(), folder_ / "sharded", with(job_, kSharded)).pipeline->run();
  const auto a = columns_of(folder_ / "sharded/labels/teacher"), b = columns_of(folder_ / "whole/labels/teacher");
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, bytes] : a) {
    ASSERT_EQ(bytes.size(), b.at(name).size()) << name;
    if (name == "rest_lse" || name == "logit_mean" || name == "logit_variance")
      EXPECT_LE(largest_gap(bytes, b.at(name)), 1e-5) << name;
    else
      EXPECT_EQ(bytes, b.at(name)) << name;
  }
  for (const char* stage : {"control", "student"})
    expect_close("sharded/" + std::string(stage) + "/weights.safetensors",
                 "whole/" + std::string(stage) + "/weights.safetensors");
  const auto here = Json::parse(base::read_file(folder_ / "sharded/report.json"));
  const auto there = Json::parse(base::read_file(folder_ / "whole/report.json"));
  for (const char* stage : {"teacher", "student", "control"}) {
    EXPECT_EQ(here.at(stage).at("parameters"), there.at(stage).at("parameters")) << stage;
    EXPECT_EQ(here.at(stage).at("bytes"), there.at(stage).at("bytes")) << stage;
    for (const auto& [split, metrics] : there.at(stage).at("metrics").items())
      for (const auto& [name, value] : metrics.items())
        EXPECT_NEAR(here.at(stage).at("metrics").at(split).at(name).get<double>(), value.get<double>(),
                    stage == std::string("teacher") ? 0 : kMetricTolerance)
            << stage << " " << split << " " << name;
    EXPECT_NEAR(here.at(stage).at("calibration").at("valid_nll").get<double>(),
                there.at(stage).at("calibration").at("valid_nll").get<double>(), 1e-4);
  }
  EXPECT_NEAR(here.at("student").at("fidelity").at("valid_kl").get<double>(),
              there.at("student").at("fidelity").at("valid_kl").get<double>(), 1e-4);
}

TEST_F(ShardedJob, TheTeacherAndWhatItIsWrittenTo) {
  auto job = job_;
  job["teacher"].erase("weights");
  Process(world(), folder_ / "teacher", with(job, kSharded)).pipeline->train_teacher();
  expect_close("teacher/teacher/weights.safetensors", "whole/teacher/weights.safetensors");
  // The same bytes but for values: another program, or a whole table, reads it as any other.
  const auto size = [](const std::string& file) { return fs::file_size(folder_ / file); };
  EXPECT_EQ(size("teacher/teacher/weights.safetensors"), size("whole/teacher/weights.safetensors"));
}

TEST_F(ShardedJob, FewerRowsThanRanks) { expect_parity("few", {{"batch", {{"sequences", 2}, {"accumulate", 1}}}}); }

TEST_F(ShardedJob, SampledSoftmax) {
  expect_parity("sampled",
                {{"student", {{"train", {{"softmax", {{"kind", "sampled"}, {"negatives", 40}, {"log_q", true}}}}}}},
                 {"losses", {{"kl_tail", nullptr}, {"logit_std", nullptr}, {"rd", nullptr}}}},
                "control");
}

TEST_F(ShardedJob, BalanceAndPerturbation) {
  expect_parity(
      "recipes",
      {{"student", {{"balance", {{"kind", "gradient_norm"}, {"every", 2}}}, {"perturbation", {{"epsilon", 0.1}}}}}});
}

TEST_F(ShardedJob, ALossThatComparesRowsOfAllRanks) {
  expect_parity("rows", {{"batch", {{"accumulate", 1}, {"rank_tokens", 0}, {"sequences", 3}}},
                         {"losses", {{"info_nce", {{"weight", 0.1}}}}}});
}

TEST_F(ShardedJob, AnOnlineTeacherWhoseRowsTheStudentBeginsWith) {
  Json losses{{"logit_std", nullptr}, {"rd", nullptr}};
  losses["kl_tail"]["labels"] = {"online"};
  expect_parity("online", {{"losses", losses}, {"student", {{"model", {{"table", {{"first", "teacher"}}}}}}}});
}

TEST_F(ShardedJob, AFrozenTable) {
  expect_parity("frozen", {{"student", {{"train", {{"frozen", {"item.*"}}}}}}}, "control");
}

TEST_F(ShardedJob, GoesOnAtAnotherNumberOfRanks) {
  const int n = world().size(), fewer = std::max(1, n / 2);
  const auto some = world().split(world().rank() < fewer ? 0 : 1);
  const auto job = with(job_, kSharded);
  const auto train = [&](Communicator* on, const std::string& name, const std::string& fault = "") {
    if (on != nullptr) Process(*on, folder_ / name, job, fault).pipeline->train_control();
  };
  Communicator* half = world().rank() < fewer ? some.get() : nullptr;
  const auto cut = [&](Communicator* on, const std::string& name) {
    if (on == nullptr) return;
    EXPECT_THROW(train(on, name, "step@3:" + std::to_string(on->rank()) + ":throw"), std::runtime_error);
  };
  cut(&world(), "down");  // after the checkpoint of step 2
  world().barrier();
  train(half, "down");
  cut(half, "up");
  world().rendezvous();
  train(&world(), "up");
  for (const char* name : {"down", "up"})
    expect_close(std::string(name) + "/control/weights.safetensors", "whole/control/weights.safetensors");
  // And with the same ranks, to the bit.
  cut(&world(), "same");
  world().barrier();
  train(&world(), "same");
  train(&world(), "uncut");
  EXPECT_EQ(base::read_file(folder_ / "same/control/weights.safetensors"),
            base::read_file(folder_ / "uncut/control/weights.safetensors"));
}

}  // namespace
}  // namespace decant::multirank
