// Metric handles of one rank; every series carries run, stage and rank. Names and units: docs/metrics.md.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace decant::monitoring {

/// One row of the table of metrics. `label`: the one that set_part() fills, or "" for a metric without parts.
struct MetricKind {
  std::string_view name;
  bool counter;
  std::string_view unit;
  std::string_view label;
  std::string_view help;
};

/// Told of all that is set or added: stage, the metric's row, its part (or ""), and the value or amount.
using Listener = std::function<void(const std::string&, const MetricKind&, const std::string&, double)>;

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
  /// Called from the thread that sets, one call at a time; must not wait, nor use these metrics. An empty one ends it:
  /// from then on none is called.
  void listen(Listener listener);
  /// The text exposition.
  [[nodiscard]] std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace decant::monitoring
