// What a job file may say: the checks across fields, the learning rate's schedule, planted faults.
#include "trainer/job.h"

#include <gtest/gtest.h>

#include <csignal>
#include <numbers>

#include "tests/trainer/support.h"
#include "trainer/fault.h"
#include "trainer/ranking.h"
#include "trainer/schedule.h"

namespace decant::trainer {
namespace {

using base::ConfigError;
using base::Json;
using testing_support::message_of;

const Registries& registries() {
  static const Registries all = default_registries();
  return all;
}

/// A job that is right, with `changes` ("a.b.c", value) to it.
JobOptions job_with(const std::vector<std::pair<std::string, Json>>& changes) {
  Json tree{{"version", 1}, {"run", {{"folder", "run"}}}, {"data", {{"dataset", "data"}}}};
  for (const auto& [key, value] : changes) base::set_key(tree, key, value);
  JobOptions job(registries());
  base::read_options(tree, job);
  return job;
}

std::string refusal(const std::vector<std::pair<std::string, Json>>& changes) {
  return message_of<ConfigError>([&] { job_with(changes).check(); });
}

const Json kNothing = Json::object();

TEST(Job, DefaultsAreARightJob) {
  JobOptions job = job_with({});
  EXPECT_NO_THROW(job.check());
  EXPECT_EQ(job.losses.size(), 2U);
  EXPECT_TRUE(job.losses.contains("ce") && job.losses.contains("kl_tail"));
  EXPECT_TRUE(job.teacher.losses.contains("ce"));
  EXPECT_EQ(base::write_options(job).at("labels").at("temperatures"), base::Json({1, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0}));
  EXPECT_NO_THROW(job_with({{"data.dataset", ""}, {"data.import.files", {"a.txt"}}}).check());
  EXPECT_NO_THROW(job_with({{"teacher.weights", "t.safetensors"}, {"teacher.losses", kNothing}}).check());
}

TEST(Job, SaysWhatIsMissing) {
  EXPECT_CONTAINS(refusal({{"run.folder", ""}}), "'run.folder' is missing");
  EXPECT_CONTAINS(refusal({{"data.dataset", ""}}), "name 'data.import.files' or 'data.dataset'");
  EXPECT_CONTAINS(refusal({{"losses", kNothing}}), "'losses' is empty");
  EXPECT_CONTAINS(refusal({{"teacher.losses", kNothing}}), "'teacher.losses' is empty");
}

TEST(Job, ScheduleNeedsItsSteps) {
  for (const std::string side : {"teacher", "student"})
    EXPECT_CONTAINS(refusal({{side + ".train.schedule.decay", "cosine"}}),
                    "'train.schedule.decay: cosine' needs 'decay_steps'");
  EXPECT_NO_THROW(
      job_with({{"student.train.schedule.decay", "linear"}, {"student.train.schedule.decay_steps", 5}}).check());
}

TEST(Job, LossesAndLabelsMustFit) {
  EXPECT_CONTAINS(refusal({{"losses.mse", kNothing}, {"losses.ce", kNothing}, {"labels.k", 1}}),
                  "loss 'mse' needs 'labels.k' of at least 2");
  EXPECT_CONTAINS(refusal({{"losses.ce", kNothing}, {"losses.kl_tail.temperature", 2.5}}),
                  "loss 'kl_tail' works at temperature 2.5, which is not among 'labels.temperatures'");
  EXPECT_NO_THROW(job_with({{"losses.ce", kNothing}, {"losses.kl_renormalised.temperature", 2.5}}).check())
      << "renormalised top-k is exact at any temperature";
  EXPECT_CONTAINS(refusal({{"losses.kl_tail", kNothing}}), "every loss needs labels, so there can be no control");
  EXPECT_CONTAINS(refusal({{"student.train.softmax.kind", "sampled"}}), "loss 'kl_tail' needs the full softmax");
  EXPECT_NO_THROW(job_with({{"teacher.train.softmax.kind", "sampled"}}).check());
  EXPECT_CONTAINS(refusal({{"teacher.losses.soft.type", "kl_tail"}}), "in a circle: teacher from teacher");
}

TEST(Job, KindsAreNamedAndUnknownOnesAreRefused) {
  const JobOptions job =
      job_with({{"losses.hard.type", "ce"}, {"losses.soft", {{"type", "kl_tail"}, {"temperature", 4}}}});
  EXPECT_EQ(job.losses.at("soft").type, "kl_tail");
  EXPECT_NO_THROW(job.check());
  EXPECT_CONTAINS(message_of<ConfigError>([] { job_with({{"losses.kl_tial", kNothing}}); }), "did you mean 'kl_tail'?");
  EXPECT_CONTAINS(message_of<ConfigError>([] {
                    job_with({{"student.optimizer.type", "adam"}});
                  }),
                  "did you mean 'adamw'?");
  EXPECT_CONTAINS(message_of<ConfigError>([] { check_metric_name("student.train.select", "ndgc@10"); }),
                  "did you mean 'ndcg@10'?");
  EXPECT_NO_THROW(check_metric_name("student.train.select", "mrr@50"));
}

TEST(Schedule, WarmsUpThenDecays) {
  ScheduleOptions options;
  EXPECT_EQ(schedule_factor(options, 0), 1);
  options.warmup_steps = 4;
  for (const auto& [step, factor] : {std::pair(0, 0.25), {1, 0.5}, {3, 1.0}, {4, 1.0}, {1000, 1.0}})
    EXPECT_DOUBLE_EQ(schedule_factor(options, step), factor) << step;
  options.decay = "linear", options.decay_steps = 10, options.final_fraction = 0.2;
  for (const auto& [step, factor] : {std::pair(3, 1.0), {4, 1.0}, {9, 0.6}, {14, 0.2}, {15, 0.2}, {1000, 0.2}})
    EXPECT_DOUBLE_EQ(schedule_factor(options, step), factor) << step;
  options.decay = "cosine";
  EXPECT_DOUBLE_EQ(schedule_factor(options, 4), 1);
  EXPECT_DOUBLE_EQ(schedule_factor(options, 6), 0.2 + 0.8 * 0.5 * (1 + std::cos(std::numbers::pi * 0.2)));
  EXPECT_DOUBLE_EQ(schedule_factor(options, 9), 0.6);
  EXPECT_DOUBLE_EQ(schedule_factor(options, 500), 0.2);
}

TEST(FaultPlan, ActsAtItsPointStepAndRankOnly) {
  const FaultPlan nan("step@7:1:nan", 1), other("step@7:1:nan", 0), none("", 0), wide("label-part@3:12:throw", 12);
  EXPECT_TRUE(nan.at("step", 7));
  EXPECT_FALSE(nan.at("step", 6));
  EXPECT_FALSE(nan.at("collective", 7));
  EXPECT_FALSE(other.at("step", 7));
  EXPECT_FALSE(none.at("step", 7));
  EXPECT_FALSE(FaultPlan().at("", -1)) << "no plan, whatever is asked";
  EXPECT_CONTAINS(message_of<std::runtime_error>([&] { static_cast<void>(wide.at("label-part", 3)); }),
                  "planted fault at label-part 3");
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(static_cast<void>(FaultPlan("report@0:2", 2).at("report", 0)), testing::KilledBySignal(SIGKILL), "");
}

TEST(FaultPlan, RefusesWhatItCannotRead) {
  const auto refused = [](const std::string& spec) { return message_of<ConfigError>([&] { FaultPlan(spec, 0); }); };
  for (const char* spec : {"step", "step@7", "step:7@1", "7"})
    EXPECT_CONTAINS(refused(spec), "is not point@step:rank") << spec;
  EXPECT_CONTAINS(refused("steps@7:1"),
                  "no such point (point@step:rank[:kill|stop|hang|throw|nan]; points: import-read, ");
  EXPECT_CONTAINS(refused("step@7:1:die"), "no such action");
  for (const char* spec : {"step@x:1", "step@7:x", "step@:1", "step@7:", "step@99999999999999999999:1"})
    EXPECT_CONTAINS(refused(spec), "step and rank are numbers") << spec;
}

}  // namespace
}  // namespace decant::trainer
