#include "monitoring/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace decant::monitoring {

namespace {

constexpr bool kGauge = false, kCounter = true;

// Prometheus' conventions: base units, the unit last in the name, `_total` after a counter.
constexpr std::array kTable{
    MetricKind{"decant_epoch", kGauge, "", "", "Epoch that is running, counted from 1."},
    MetricKind{"decant_step", kGauge, "", "", "Optimiser steps done in this stage, those before a resume included."},
    MetricKind{"decant_samples_total", kCounter, "", "", "Sequences this rank has trained on."},
    MetricKind{"decant_targets_total", kCounter, "", "", "Targets (positions with a next item) of those sequences."},
    MetricKind{"decant_loss", kGauge, "", "part",
               "Mean loss of the step before the last over all ranks, by part; part=\"total\" is the weighted sum."},
    MetricKind{"decant_loss_scale", kGauge, "", "part",
               "Factor beside its weight that brings a loss's gradient to the reference's length (student.balance)."},
    MetricKind{"decant_gradient_norm", kGauge, "", "", "Norm of the last step's gradient over all ranks, unclipped."},
    MetricKind{"decant_non_finite_steps_total", kCounter, "", "",
               "Steps that were skipped, since a loss or gradient was not finite."},
    MetricKind{"decant_learning_rate", kGauge, "", "", "Learning rate of the last step."},
    MetricKind{"decant_sequences_per_second", kGauge, "", "", "Sequences a second of the last step, of all ranks."},
    MetricKind{"decant_last_step_timestamp_seconds", kGauge, "seconds", "",
               "Unix time at which this rank's last step ended."},
    MetricKind{"decant_data_wait_seconds_total", kCounter, "seconds", "", "Time steps have waited for a batch."},
    MetricKind{"decant_exchange_wait_seconds_total", kCounter, "seconds", "",
               "Time steps have waited for other ranks, after their own work was done."},
    MetricKind{"decant_exchange_seconds_total", kCounter, "seconds", "",
               "Time in which gradients of this rank were on their way, hidden behind backward or not."},
    MetricKind{"decant_exchange_hidden_ratio", kGauge, "ratio", "",
               "Share of the last step's gradient exchange that backward hid, 0 to 1; with several ranks only."},
    MetricKind{"decant_exchange_bytes_total", kCounter, "bytes", "",
               "Gradient bytes this rank has given to exchanges."},
    MetricKind{"decant_checkpoints_total", kCounter, "", "", "Checkpoints this rank has begun to write."},
    MetricKind{"decant_checkpoint_wait_seconds_total", kCounter, "seconds", "",
               "Time training has waited for checkpoints: for its copy, and for the one before to be written."},
    MetricKind{"decant_label_positions_total", kCounter, "", "", "Positions this rank has labelled."},
    MetricKind{"decant_label_parts_done", kGauge, "", "", "Parts of the label store that this rank has made."},
    MetricKind{"decant_label_parts", kGauge, "", "", "Parts of the label store that this rank is to make."},
    MetricKind{"decant_step_labels", kGauge, "", "kind",
               "Labels in the last step, of all ranks, when they are screened; kind=\"labels\", \"contradicting\", "
               "\"over_confident\"."},
    MetricKind{"decant_valid_metric", kGauge, "", "metric",
               "Value at the last validation, all items ranked; metric=\"ndcg@10\" and the like."},
    MetricKind{"decant_last_success_timestamp_seconds", kGauge, "seconds", "",
               "Unix time at which a command came to its end without an error."},
    MetricKind{"decant_push_failures_total", kCounter, "", "", "Pushes to the Pushgateway that failed."},
    MetricKind{"decant_tensorboard_dropped_total", kCounter, "", "",
               "Points of event files that were lost, since they could not be written in time or at all."},
};

const MetricKind& find(std::string_view name, bool counter, bool with_part) {
  const auto* at = std::find_if(kTable.begin(), kTable.end(), [&](const MetricKind& row) { return row.name == name; });
  if (at == kTable.end()) throw std::logic_error("no metric is named '" + std::string(name) + "'");
  if (at->counter != counter || at->label.empty() == with_part)
    throw std::logic_error("metric '" + std::string(name) + "' is used as another kind than it is");
  return *at;
}

}  // namespace

std::span<const MetricKind> metric_table() { return kTable; }

struct Metrics::Impl {
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
  std::map<std::string_view, prometheus::Family<prometheus::Gauge>*> gauges;
  std::map<std::string_view, prometheus::Family<prometheus::Counter>*> counters;
  // Those of the current stage, by name and part: asking a family for one costs more than setting it.
  std::map<std::pair<std::string_view, std::string>, prometheus::Gauge*> live;
  std::map<std::string_view, prometheus::Counter*> counting;
  std::string stage = "start";
  Listener listener;
  std::mutex mutex;

  void set(const MetricKind& row, const std::string& part, double value) {
    const std::lock_guard lock(mutex);
    prometheus::Gauge*& gauge = live[{row.name, part}];
    if (gauge == nullptr) {
      prometheus::Labels labels{{"stage", stage}};
      if (!row.label.empty()) labels.emplace(row.label, part);
      gauge = &gauges.at(row.name)->Add(labels);
    }
    gauge->Set(value);
    if (listener) listener(stage, row, part, value);
  }
};

Metrics::Metrics(const std::string& run, int rank) : impl_(std::make_unique<Impl>()) {
  const prometheus::Labels labels{{"run", run}, {"rank", std::to_string(rank)}};
  for (const MetricKind& row : kTable) {
    const std::string name(row.name), help(row.help);
    if (row.counter)
      impl_->counters[row.name] =
          &prometheus::BuildCounter().Name(name).Help(help).Labels(labels).Register(*impl_->registry);
    else
      impl_->gauges[row.name] =
          &prometheus::BuildGauge().Name(name).Help(help).Labels(labels).Register(*impl_->registry);
  }
}

Metrics::~Metrics() = default;

void Metrics::set_stage(const std::string& stage) {
  const std::lock_guard lock(impl_->mutex);
  if (stage == impl_->stage) return;
  for (const auto& [key, gauge] : impl_->live) impl_->gauges.at(key.first)->Remove(gauge);
  impl_->live.clear();
  impl_->counting.clear();
  impl_->stage = stage;
}

void Metrics::set(std::string_view gauge, double value) { impl_->set(find(gauge, kGauge, false), "", value); }

void Metrics::set_part(std::string_view gauge, const std::string& part, double value) {
  impl_->set(find(gauge, kGauge, true), part, value);
}

void Metrics::add(std::string_view counter, double amount) {
  const MetricKind& row = find(counter, kCounter, false);
  const std::lock_guard lock(impl_->mutex);
  prometheus::Counter*& known = impl_->counting[row.name];
  if (known == nullptr) known = &impl_->counters.at(row.name)->Add({{"stage", impl_->stage}});
  known->Increment(amount);
  if (impl_->listener) impl_->listener(impl_->stage, row, "", amount);
}

void Metrics::listen(Listener listener) {
  const std::lock_guard lock(impl_->mutex);
  impl_->listener = std::move(listener);
}

std::string Metrics::text() const { return prometheus::TextSerializer().Serialize(impl_->registry->Collect()); }

}  // namespace decant::monitoring
