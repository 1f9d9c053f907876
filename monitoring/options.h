// `monitoring:` of the job file.
#pragma once

#include <cstdint>
#include <string>

#include "base/options.h"

namespace decant::monitoring {

struct MonitoringOptions : base::Options {
  bool enabled = true;
  std::string address = "127.0.0.1";
  std::int64_t port = 9470;  // rank r tries port + r, then the following ones
  std::string auth_file;     // credentials.h; empty: whoever reaches the port may read
  std::string pushgateway;   // "http://host:9091"; empty: nothing is pushed
  std::string push_auth_file;
  std::string push_job = "decant";
  double push_seconds = 15;
  bool tensorboard = false;
  void describe(base::Fields& fields) override;
  /// Throws ConfigError: an address of a Pushgateway that cannot be one, or that holds a password.
  void check() const;
};

}  // namespace decant::monitoring
