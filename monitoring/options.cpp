#include "monitoring/options.h"

#include "monitoring/pusher.h"

namespace decant::monitoring {

void MonitoringOptions::describe(base::Fields& fields) {
  fields.flag("enabled", enabled, "serve Prometheus metrics from every rank");
  fields.text("address", address,
              "to serve them at: one of the host's own; 0.0.0.0 is all of them and lets other hosts in");
  fields.integer("port", port, {1, 65535}, "of rank 0; rank r takes this plus r, or the next free one");
  fields.text("auth_file", auth_file,
              "file with `user:password` that a reader of the metrics must give; only its owner may read it");
  fields.text("pushgateway", pushgateway, "address of a Pushgateway, as http://host:9091, that every rank pushes to");
  fields.text("push_auth_file", push_auth_file, "the same kind of file for the Pushgateway");
  fields.text("push_job", push_job, "label `job` of what is pushed");
  fields.real("push_seconds", push_seconds, {0.1, 3600}, "between two pushes; one more goes at the end");
  fields.flag("tensorboard", tensorboard, "write event files for TensorBoard below tensorboard/ of the run folder");
}

void MonitoringOptions::check() const {
  if (!pushgateway.empty()) static_cast<void>(parse_gateway(pushgateway));
  if (push_job.empty()) throw base::ConfigError("monitoring.push_job: must not be empty");
}

}  // namespace decant::monitoring
