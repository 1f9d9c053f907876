// Teachers that learn from teachers: their order, circles, what is refused.
#include "trainer/teacher_chain.h"

#include <gtest/gtest.h>

#include "tests/trainer/support.h"

namespace decant::trainer {
namespace {

using base::Json;
using Names = std::vector<std::string>;
using Changes = std::vector<std::pair<std::string, Json>>;

const Registries& registries() {
  static const Registries all = default_registries();
  return all;
}

/// The student learns from "small", which learns from "middle", which learns from the teacher.
struct Chain {
  explicit Chain(const Changes& changes = {}) : job(registries()) {
    auto tree = Json::parse(R"({"version": 1, "run": {"folder": "run"}, "data": {"dataset": "data"},
        "teachers": {"small": {"losses": {"ce": {}, "kl_tail": {"labels": ["middle"]}}},
                     "middle": {"losses": {"ce": {}, "kl_tail": {}}}, "other": {}},
        "labels": {"sets": {"middle": {"teacher": "middle"}, "small": {"teacher": "small"}}},
        "losses": {"ce": {}, "kl_tail": {"labels": ["small"]}}})");
    for (const auto& [key, value] : changes) base::set_key(tree, key, value);
    base::read_options(tree, job);
  }
  JobOptions job;
};

std::string refusal(const Changes& changes) {
  return testing_support::message_of<base::ConfigError>([&] { Chain(changes).job.check(); });
}

TEST(TeacherChain, TeachersComeAfterThoseTheyLearnFrom) {
  const Chain chain;
  EXPECT_NO_THROW(chain.job.check());
  EXPECT_EQ(teachers_in_order(chain.job, registries()), (Names{"teacher", "middle", "small", "other"}));
  EXPECT_EQ(sets_of_teacher(chain.job, registries(), "small"), std::set<std::string>{"middle"});
  EXPECT_EQ(stages_in_order(chain.job, registries()),
            (Names{"dataset", "teacher", "teachers/other", "control", "labels/teacher", "teachers/middle",
                   "labels/middle", "teachers/small", "labels/small", "student"}));
}

TEST(TeacherChain, TheTeacherMayLearnToo) {
  const Chain chain({{"teacher.losses", Json::parse(R"({"ce": {}, "mse": {"labels": ["other"]}})")},
                     {"labels.sets.other", {{"teacher", "other"}}}});
  EXPECT_NO_THROW(chain.job.check());
  EXPECT_EQ(teachers_in_order(chain.job, registries()), (Names{"other", "teacher", "middle", "small"}));
}

TEST(TeacherChain, ATeacherFromAFileLearnsFromNobody) {
  const Chain chain(Changes{{"teachers.middle.weights", "middle.safetensors"}});
  EXPECT_TRUE(sets_of_teacher(chain.job, registries(), "middle").empty());
  EXPECT_EQ(stages_in_order(chain.job, registries()),
            (Names{"dataset", "teacher", "teachers/middle", "teachers/other", "control", "labels/middle",
                   "teachers/small", "labels/small", "student"}));
}

TEST(TeacherChain, ACircleNamesItsTeachers) {
  EXPECT_CONTAINS(refusal({{"teachers.middle.losses.kl_tail.labels", {"small"}}}),
                  "teachers learn from each other in a circle: small from middle from small");
  EXPECT_CONTAINS(refusal({{"teachers.middle.losses.kl_tail.labels", {"middle"}}}), "middle from middle");
}

TEST(TeacherChain, WhatATeacherHasNotIsRefused) {
  EXPECT_CONTAINS(refusal({{"teachers.middle.losses.kl_tail.labels", {"online"}}}),
                  "'teachers.middle.losses.kl_tail.labels': the set 'online' is the student's");
  EXPECT_CONTAINS(refusal({{"teachers.middle.losses.kl_tail.labels", {"nobody"}}}),
                  "loss 'teachers.middle.losses.kl_tail' names the label set 'nobody'");
  EXPECT_CONTAINS(refusal({{"teachers.middle.losses.kl_tail.temperature", 3.5}}),
                  "loss 'teachers.middle.losses.kl_tail' works at temperature 3.5");
  EXPECT_CONTAINS(refusal({{"teachers.middle.model.max_length", 7}}),
                  "'teachers.small.model.max_length' is 50, that of teacher 'middle' 7");
  EXPECT_CONTAINS(refusal({{"teachers.small.train.softmax.kind", "sampled"}}),
                  "'teachers.small.train.softmax.kind: sampled'");
  EXPECT_CONTAINS(refusal({{"teachers.small.losses", Json::object()}}), "'teachers.small.losses' is empty");
}

}  // namespace
}  // namespace decant::trainer
