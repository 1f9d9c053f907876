#include "monitoring/metrics.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>

namespace decant::monitoring {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

int connect_to(int port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

std::string fetch(int port) {
  const int descriptor = connect_to(port);
  if (descriptor < 0) return "";
  const std::string request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
  std::string out;
  if (::send(descriptor, request.data(), request.size(), 0) == static_cast<ssize_t>(request.size())) {
    std::array<char, 4096> block{};
    for (ssize_t got = 0; (got = ::recv(descriptor, block.data(), block.size(), 0)) > 0;)
      out.append(block.data(), static_cast<std::size_t>(got));
  }
  ::close(descriptor);
  return out;
}

/// Holds a loopback port of the kernel's choice, as another job would.
class TakenPort {
 public:
  TakenPort() : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(descriptor_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || ::listen(descriptor_, 1) != 0 ||
        ::getsockname(descriptor_, reinterpret_cast<sockaddr*>(&at), &size) != 0)
      throw std::runtime_error("no port to take");
    port_ = ntohs(at.sin_port);
  }
  ~TakenPort() { ::close(descriptor_); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  [[nodiscard]] int port() const { return port_; }

 private:
  int descriptor_, port_ = 0;
};

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
    EXPECT_TRUE(has(page, "`" + name + "`")) << name << " is not in docs/metrics.md";
  }
}

TEST(Exporter, ServesTheTextOverHttp) {
  Metrics metrics("r", 0);
  metrics.set("decant_step", 12);
  MonitoringOptions options;
  options.port = 29470;
  const Exporter exporter(metrics, options, 0);
  ASSERT_NE(exporter.port(), 0) << exporter.note();
  EXPECT_EQ(exporter.address(), "127.0.0.1:" + std::to_string(exporter.port()));
  const std::string page = fetch(exporter.port());
  EXPECT_TRUE(has(page, "200 OK")) << page;
  EXPECT_TRUE(has(page, R"(decant_step{rank="0",run="r",stage="start"} 12)")) << page;
}

TEST(Exporter, TakenPortMovesToTheNextAndSaysSo) {
  const TakenPort taken;
  Metrics metrics("r", 1);
  MonitoringOptions options;
  options.port = taken.port() - 1;  // rank 1 wants the taken one
  const Exporter exporter(metrics, options, 1);
  EXPECT_GT(exporter.port(), taken.port());
  EXPECT_TRUE(has(exporter.note(), "port " + std::to_string(taken.port()) + " is taken")) << exporter.note();
  EXPECT_TRUE(has(exporter.note(), exporter.address()));
}

TEST(Exporter, ForeignAddressIsSaidNotThrown) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.address = "192.0.2.1";  // RFC 5737: nobody's
  const Exporter exporter(metrics, options, 0);
  EXPECT_EQ(exporter.port(), 0);
  EXPECT_EQ(exporter.address(), "");
  EXPECT_TRUE(has(exporter.note(), "192.0.2.1:9470")) << exporter.note();
  options.address = "no address";
  EXPECT_EQ(Exporter(metrics, options, 0).port(), 0);
}

TEST(Exporter, StopsAtTheLastPort) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.port = 65535;
  const Exporter exporter(metrics, options, 1);
  EXPECT_EQ(exporter.port(), 0);
  EXPECT_TRUE(has(exporter.note(), "65536")) << exporter.note();
}

TEST(Exporter, LetsItsPortGo) {
  Metrics metrics("r", 0);
  MonitoringOptions options;
  options.port = 29670;
  const int first = Exporter(metrics, options, 0).port();
  EXPECT_EQ(connect_to(first), -1);
  EXPECT_EQ(Exporter(metrics, options, 0).port(), first);
}

TEST(Discovery, ListsWhatIsServed) {
  EXPECT_EQ(discovery_targets("beauty", {"127.0.0.1:9470", "", "node2:9471"}).dump(),
            R"([{"targets":["127.0.0.1:9470","node2:9471"],"labels":{"job":"decant","run":"beauty"}}])");
  EXPECT_EQ(discovery_targets("beauty", {"", ""}).dump(), "[]");
}

}  // namespace
}  // namespace decant::monitoring
