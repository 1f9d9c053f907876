// Metric handles of one rank; every series carries run, stage and rank. Names and units: docs/metrics.md.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"

namespace decant::monitoring {

struct MonitoringOptions : base::Options {
  bool enabled = true;
  std::string address = "127.0.0.1";
  std::int64_t port = 9470;  // rank r tries port + r, then the following ones
  void describe(base::Fields& fields) override;
};

/// One row of the table of metrics. `label`: the one that set_part() fills, or "" for a metric without parts.
struct MetricKind {
  std::string_view name;
  bool counter;
  std::string_view unit;
  std::string_view label;
  std::string_view help;
};

/// Every metric that decant exports.
[[nodiscard]] std::span<const MetricKind> metric_table();

/// Thread-safe. A name that is not in the table, or used as another kind, throws std::logic_error. A series appears
/// when it is first set.
class Metrics {
 public:
  Metrics(const std::string& run, int rank);
  ~Metrics();
  /// Label `stage` of all that follows: "import", "teacher", "labels", "student", "control", "evaluate". Gauges of
  /// the stage before go, since what they say is no longer so; counters stay.
  void set_stage(const std::string& stage);
  void set(std::string_view gauge, double value);
  void add(std::string_view counter, double amount);
  /// Gauge with one more label: decant_loss{part="kl_tail"}.
  void set_part(std::string_view gauge, const std::string& part, double value);
  /// The text exposition, for tests.
  [[nodiscard]] std::string text() const;

 private:
  friend class Exporter;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Serves Metrics over HTTP at /metrics while it lives. A taken port moves to the next (at most 100 tries) and
/// `note()` says so; when none is free, or the address is not ours, `port()` is 0 and `note()` says why: a job never
/// dies of its metrics.
class Exporter {
 public:
  Exporter(Metrics& metrics, const MonitoringOptions& options, int rank);
  ~Exporter();
  [[nodiscard]] int port() const;
  /// "127.0.0.1:9470" (the host's name where all addresses are served), or "" when nothing is.
  [[nodiscard]] std::string address() const;
  [[nodiscard]] const std::string& note() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Prometheus file discovery: [{"targets": [...], "labels": {"job": "decant", "run": run}}]. Empty addresses (ranks
/// that serve nothing) are left out.
[[nodiscard]] base::Json discovery_targets(const std::string& run, const std::vector<std::string>& addresses);

}  // namespace decant::monitoring
