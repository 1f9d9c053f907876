// Serves a rank's metrics to Prometheus.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"
#include "monitoring/credentials.h"
#include "monitoring/metrics.h"
#include "monitoring/options.h"

namespace decant::monitoring {

/// Serves Metrics over HTTP at /metrics while it lives; with `credentials`, whoever does not give them gets 401. A taken
/// port moves to the next (at most 100 tries) and `note()` says so; when none is free, or the address is not ours,
/// `port()` is 0 and `note()` says why: a job never dies of its metrics.
class Exporter {
 public:
  Exporter(Metrics& metrics, const MonitoringOptions& options, int rank,
           const std::optional<Credentials>& credentials = {});
  ~Exporter();
  [[nodiscard]] int port() const;
  /// "127.0.0.1:9470", or "" when nothing is served. Where all addresses are served, one at which other hosts reach
  /// this one: see reachable_host().
  [[nodiscard]] std::string address() const;
  [[nodiscard]] const std::string& note() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The host's name where that resolves to an address that other hosts can reach; else the first address of its
/// interfaces that is neither loopback nor link-local, IPv4 before IPv6; else its name.
[[nodiscard]] std::string reachable_host();

/// "host:port", with brackets around an IPv6 address.
[[nodiscard]] std::string host_and_port(const std::string& host, int port);

/// Prometheus file discovery: [{"targets": [...], "labels": {"job": "decant", "run": run}}]. Empty addresses (ranks
/// that serve nothing) are left out.
[[nodiscard]] base::Json discovery_targets(const std::string& run, const std::vector<std::string>& addresses);

}  // namespace decant::monitoring
