// Stages of training in the job file: what each is trained with, the control's, checks.
#include "trainer/loss_stages.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"

namespace decant::trainer {
namespace {

using base::ConfigError;
using base::Json;
using testing_support::message_of;

const Registries& registries() {
  static const Registries all = default_registries();
  return all;
}

struct Staged {
  explicit Staged(const Json& stages, const Json& student = Json::object()) : job(registries()) {
    Json tree{{"version", 1}, {"run", {{"folder", "run"}}}, {"data", {{"dataset", "data"}}}, {"student", student}};
    tree["student"]["stages"] = stages;
    base::read_options(tree, job);
    resolved = base::write_options(job);
  }
  [[nodiscard]] std::vector<LossStage> plan(bool with_teacher) const {
    return student_stages(job, registries(), resolved, with_teacher);
  }
  JobOptions job;
  Json resolved;
};

std::string refusal(const Json& stages, const Json& student = Json::object()) {
  return message_of<ConfigError>([&] { Staged(stages, student).job.check(); });
}

std::string names_of(const LossStage& stage) {
  std::string out;
  for (const auto& [name, value] : stage.resolved_losses.items()) out += (out.empty() ? "" : " ") + name;
  return out;
}

const Json kThree = Json::parse(R"({"warm": {"losses": {"mse": {}}, "lr": 0.01, "max_epochs": 2},
                                    "distil": {"frozen": ["item.*"], "patience": 3, "start": "last"},
                                    "tune": {"losses": {"ce": {}}, "max_steps": 7}})");

TEST(LossStages, WithoutStagesThereIsOneWithoutAName) {
  const Staged plain(Json::object());
  const auto plan = plain.plan(true);
  ASSERT_EQ(plan.size(), 1U);
  EXPECT_EQ(plan[0].name, "");
  EXPECT_EQ(plan[0].losses, &plain.job.losses);
  EXPECT_EQ(names_of(plan[0]), "ce kl_tail");
  EXPECT_EQ(names_of(plain.plan(false)[0]), "ce");
  EXPECT_EQ(plan[0].lr, 0);
}

TEST(LossStages, OverrideWhatTheyNameInTheirOrder) {
  const Staged staged(kThree, {{"train", {{"max_epochs", 50}, {"patience", 9}, {"frozen", {"norm.*"}}}}});
  EXPECT_NO_THROW(staged.job.check());
  const auto plan = staged.plan(true);
  ASSERT_EQ(plan.size(), 3U);
  EXPECT_EQ(plan[0].name + " " + plan[1].name + " " + plan[2].name, "warm distil tune");
  EXPECT_EQ(names_of(plan[0]), "mse");
  EXPECT_EQ(names_of(plan[1]), "ce kl_tail") << "those of the job";
  EXPECT_EQ(plan[0].lr, 0.01);
  EXPECT_EQ(plan[0].train.max_epochs, 2);
  EXPECT_EQ(plan[0].train.patience, 9);
  EXPECT_EQ(plan[1].train.max_epochs, 50);
  EXPECT_EQ(plan[1].train.patience, 3);
  EXPECT_EQ(plan[1].train.frozen, (std::vector<std::string>{"norm.*", "item.*"}));
  EXPECT_TRUE(plan[1].from_last);
  EXPECT_FALSE(plan[2].from_last);
  EXPECT_EQ(plan[2].train.max_steps, 7);
}

TEST(LossStages, TheControlHasTheSameBudgetWithoutLabels) {
  const Staged staged(kThree);
  const auto student = staged.plan(true), control = staged.plan(false);
  ASSERT_EQ(control.size(), 3U);
  EXPECT_EQ(names_of(control[0]), "ce") << "of the next stage that has any";
  EXPECT_EQ(control[0].losses, student[1].losses);
  EXPECT_EQ(names_of(control[1]), "ce");
  EXPECT_EQ(names_of(control[2]), "ce");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(control[i].lr, student[i].lr);
    EXPECT_EQ(control[i].train.max_epochs, student[i].train.max_epochs);
    EXPECT_EQ(control[i].train.max_steps, student[i].train.max_steps);
    EXPECT_EQ(control[i].train.frozen, student[i].train.frozen);
  }
  const Staged ends_with_labels(Json::parse(R"({"a": {"losses": {"ce": {}}}, "b": {"losses": {"mse": {}}}})"));
  EXPECT_EQ(names_of(ends_with_labels.plan(false)[1]), "ce") << "of the last before";
}

TEST(LossStages, AreChecked) {
  EXPECT_CONTAINS(refusal(Json::parse(R"({"a": {"losses": {"mse": {}}}, "b": {"losses": {"kl_tail": {}}}})")),
                  "there can be no control");
  EXPECT_CONTAINS(refusal(Json::parse(R"({"a": {"frozen": ["item.wieght"]}})")),
                  "'student.stages.a.frozen': no parameter is named 'item.wieght'; did you mean 'item.weight'?");
  EXPECT_CONTAINS(refusal(Json::parse(R"({"a": {"schedule": {"decay": "linear"}}})")),
                  "'student.stages.a.schedule.decay: linear' needs 'decay_steps'");
  EXPECT_CONTAINS(refusal(Json::parse(R"({"a/b": {}})")), "the name 'a/b' may have letters");
  EXPECT_CONTAINS(refusal(Json::parse(R"({"a": {}})"), {{"train", {{"schedule", {{"warmup_steps", 5}}}}}}),
                  "'student.train.schedule' has no meaning beside 'student.stages'");
  EXPECT_CONTAINS(refusal(Json::parse(R"({"a": {"losses": {"kl_tail": {"temperature": 2.5}, "ce": {}}}})")),
                  "which is not among 'labels.temperatures'");
  EXPECT_CONTAINS(refusal(Json::object(), {{"train", {{"frozen", {"blok*"}}}}}), "'student.train.frozen'");
  EXPECT_NO_THROW(Staged(Json::parse(R"({"a": {"frozen": ["loss.kl_tail.weight"]}})")).job.check())
      << "of losses' parameters nothing is known before a run";
}

TEST(LossStages, ABalancesReferenceIsAmongThem) {
  const auto balance = [](const std::string& reference) {
    return Json{{"balance", {{"kind", "gradient_norm"}, {"reference", reference}}}};
  };
  EXPECT_CONTAINS(refusal(Json::object(), balance("bpr")),
                  "'student.balance.reference: bpr' is not among the losses (ce, kl_tail)");
  EXPECT_NO_THROW(Staged(Json::object(), balance("ce")).job.check());
  EXPECT_NO_THROW(Staged(kThree, balance("ce")).job.check()) << "in one stage it has another loss beside it";
  EXPECT_CONTAINS(refusal(kThree, balance("mse")),
                  "'student.balance.reference: mse' has no other loss beside it: there is nothing to balance");
  EXPECT_NO_THROW(Staged(Json::object(), {{"balance", {{"reference", "bpr"}}}}).job.check()) << "it is off";
}

}  // namespace
}  // namespace decant::trainer
