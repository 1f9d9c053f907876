#include "monitoring/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

namespace decant::monitoring {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Metrics, SeriesCarryRunStageAndRank) {
  Metrics metrics("beauty", 3);
  metrics.set_stage("teacher");
  metrics.set("decant_step", 41);
  metrics.add("decant_samples_total", 128);
  metrics.add("decant_samples_total", 64);
  metrics.set_part("decant_loss", "kl_tail", 0.25);
  metrics.set_part("decant_valid_metric", "ndcg@10", 0.5);
  const std::string text = metrics.text();
  EXPECT_TRUE(has(text, "# TYPE decant_step gauge")) << text;
  EXPECT_TRUE(has(text, "# TYPE decant_samples_total counter"));
  EXPECT_TRUE(has(text, R"(decant_step{rank="3",run="beauty",stage="teacher"} 41)")) << text;
  EXPECT_TRUE(has(text, R"(decant_samples_total{rank="3",run="beauty",stage="teacher"} 192)"));
  EXPECT_TRUE(has(text, R"(decant_loss{rank="3",run="beauty",part="kl_tail",stage="teacher"} 0.25)")) << text;
  EXPECT_TRUE(has(text, R"(metric="ndcg@10")"));
}

TEST(Metrics, WhatWasNeverSetIsNotThere) { EXPECT_EQ(Metrics("r", 0).text(), ""); }

TEST(Metrics, GaugesGoWithTheirStageAndCountersStay) {
  Metrics metrics("r", 0);
  metrics.set_stage("teacher");
  metrics.set("decant_last_step_timestamp_seconds", 1);
  metrics.set_part("decant_loss", "ce", 2);
  metrics.add("decant_samples_total", 5);
  metrics.set_stage("student");
  metrics.add("decant_samples_total", 7);
  const std::string text = metrics.text();
  EXPECT_FALSE(has(text, "timestamp")) << text;
  EXPECT_FALSE(has(text, "decant_loss")) << text;
  EXPECT_TRUE(has(text, R"(decant_samples_total{rank="0",run="r",stage="teacher"} 5)"));
  EXPECT_TRUE(has(text, R"(decant_samples_total{rank="0",run="r",stage="student"} 7)"));
}

TEST(Metrics, TellTheirListenerUntilThereIsNone) {
  Metrics metrics("r", 0);
  std::string heard;
  metrics.listen([&](const std::string& stage, const MetricKind& row, const std::string& part, double value) {
    heard += stage + " " + std::string(row.name) + " " + part + " " + std::to_string(static_cast<int>(value)) + ";";
  });
  metrics.set_stage("teacher");
  metrics.set("decant_step", 4);
  metrics.add("decant_samples_total", 9);
  metrics.set_part("decant_loss", "ce", 2);
  metrics.listen({});
  metrics.set("decant_step", 5);
  EXPECT_EQ(heard, "teacher decant_step  4;teacher decant_samples_total  9;teacher decant_loss ce 2;");
}

TEST(Metrics, RefusesUnknownNamesAndOtherKinds) {
  Metrics metrics("r", 0);
  EXPECT_THROW(metrics.set("decant_stepp", 1), std::logic_error);
  EXPECT_THROW(metrics.set("decant_samples_total", 1), std::logic_error);
  EXPECT_THROW(metrics.add("decant_step", 1), std::logic_error);
  EXPECT_THROW(metrics.set("decant_loss", 1), std::logic_error);
  EXPECT_THROW(metrics.set_part("decant_step", "x", 1), std::logic_error);
}

TEST(Metrics, ThreadsMayWriteWhileAnotherReads) {
  Metrics metrics("r", 0);
  std::thread writer([&] {
    for (int i = 0; i < 2000; ++i) {
      metrics.set_stage(i % 100 < 50 ? "teacher" : "student");
      metrics.set("decant_step", i);
      metrics.add("decant_targets_total", 1);
    }
  });
  for (int i = 0; i < 200; ++i) static_cast<void>(metrics.text());
  writer.join();
  EXPECT_TRUE(has(metrics.text(), R"(decant_targets_total{rank="0",run="r",stage="teacher"} 1000)"));
}

TEST(Metrics, NamesFollowPrometheus) {
  for (const MetricKind& row : metric_table()) {
    EXPECT_TRUE(row.name.starts_with("decant_")) << row.name;
    EXPECT_EQ(row.name.ends_with("_total"), row.counter) << row.name;
    EXPECT_TRUE(row.help.ends_with(".")) << row.name;
    if (!row.unit.empty()) {
      EXPECT_TRUE(has(std::string(row.name), "_" + std::string(row.unit))) << row.name;
    }
  }
}

TEST(Metrics, DocumentationNamesEveryMetric) {
  std::ifstream file(DECANT_SOURCE_DIR "/docs/metrics.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  for (const MetricKind& row : metric_table()) {
    std::string name(row.name);
    if (!row.label.empty()) name += "{" + std::string(row.label) + "}";
    EXPECT_TRUE(has(page, "\n| `" + name + "` |")) << name << " is not in a table of docs/metrics.md";
  }
  std::set<std::string> known;
  for (const MetricKind& row : metric_table()) known.emplace(row.name);
  const std::regex words("decant_[a-z_]+");
  for (std::sregex_iterator at(page.begin(), page.end(), words), end; at != end; ++at)
    EXPECT_TRUE(known.contains(at->str())) << at->str() << " is in docs/metrics.md, but there is no such metric";
}

}  // namespace
}  // namespace decant::monitoring
