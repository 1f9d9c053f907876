// Pushes a rank's metrics to a Prometheus Pushgateway, for jobs too short to be scraped.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "monitoring/credentials.h"
#include "monitoring/metrics.h"
#include "monitoring/options.h"

namespace decant::monitoring {

/// Where a Pushgateway is.
struct Gateway {
  std::string host;
  int port = 9091;
  std::string prefix;  // "" or "/prefix"
};

/// Of "http://host[:port][/prefix]"; IPv6 addresses in brackets. Throws ConfigError, which does not quote an address that
/// holds a password.
[[nodiscard]] Gateway parse_gateway(const std::string& url);

/// One group of the gateway for each rank of a run in its folder: what is pushed replaces what the same rank of the same
/// folder has pushed before, and nothing else.
struct PushGroup {
  std::string job, instance, run;
  int rank = 0;
  /// "/metrics/job@base64/.../instance@base64/.../run@base64/.../rank/0".
  [[nodiscard]] std::string path() const;
};

/// Pushes from a thread of its own while it lives, every `push_seconds`, and once more at the end. A push that fails is
/// counted (decant_push_failures_total); the first is told to `warn`, from that thread. The destructor waits at most
/// `kLastPushSeconds` for the last push: a gateway that is not there neither stops nor slows a job.
/// REQUIRES: `metrics` and what `warn` uses outlive it; `options.pushgateway` is set.
class Pusher {
 public:
  static constexpr int kLastPushSeconds = 5;
  Pusher(Metrics& metrics, const MonitoringOptions& options, const PushGroup& group,
         const std::optional<Credentials>& credentials, std::function<void(const std::string&)> warn);
  ~Pusher();
  Pusher(const Pusher&) = delete;
  Pusher& operator=(const Pusher&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;  // the thread's too, which may be given up while it waits for the network
};

}  // namespace decant::monitoring
