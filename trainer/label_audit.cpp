#include "trainer/label_audit.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>

#include "base/files.h"
#include "data/errors.h"
#include "trainer/errors.h"
#include "trainer/labels/label_kind.h"

namespace decant::trainer {
namespace {

using torch::Tensor;
constexpr const char* kManifest = "manifest.json";

/// Rows whose labels hold among all; `why` when none does for one reason.
struct Rows {
  std::int64_t labelled = 0, stale = 0, missing = 0;
  std::string why;
};

Rows count_rows(Workspace& space, const std::string& name, const LabelSetOptions& options, std::int64_t max_length) {
  const auto folder = space.set_folder(name);
  const std::int64_t all = space.dataset().info().rows;
  Rows rows;
  if (!fs::exists(folder / kManifest)) {
    rows.missing = all;
    rows.why = fs::exists(folder) ? "not finished: `decant label` continues it" : "not made yet";
    return rows;
  }
  try {
    const auto set = data::LabelSet::of_other_events(folder, space.dataset(), max_length);
    if (options.folder.empty() && set.spec().recipe != space.label_recipe(name)) {
      rows.why = "made by another teacher, or with other options";
    } else {
      const bool same = set.spec().content_hash == space.dataset().info().content_hash;
      for (std::int64_t row = 0; row < all; ++row) {
        if (row >= set.spec().rows || !set.covers(row))
          ++rows.missing;
        else if (same || set.has_row(row))
          ++rows.labelled;
        else
          ++rows.stale;
      }
      return rows;
    }
  } catch (const CheckpointError&) {
    rows.why = "its teacher is not finished";
  } catch (const base::Error& error) {  // of another catalogue or window, or damaged
    rows.why = error.what();
  }
  rows.stale = std::min(all, data::read_label_spec(folder).rows);
  rows.missing = all - rows.stale;
  return rows;
}

std::int64_t bytes_in(const fs::path& folder) {
  std::int64_t bytes = 0;
  if (fs::exists(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file()) bytes += static_cast<std::int64_t>(entry.file_size());
  return bytes;
}

std::int64_t window_of(Workspace& space, const LabelSetOptions& options) {
  const SideOptions& side = options.folder.empty()
                                ? static_cast<const SideOptions&>(space.teacher_side(options.teacher).options)
                                : space.job.student;
  return space.make_model(side, 0)->max_length();
}

/// Ids of a row that occur twice, or are not in the order of their logits. `first`: of the run within its part.
void check_order(const TeacherLabels& labels, bool ordered, const fs::path& part, std::int64_t first) {
  if (!labels.ids.defined() || labels.ids.size(1) < 2) return;
  const auto refuse = [&](const Tensor& wrong, const std::string& why) {
    const auto rows = wrong.any(1).nonzero();
    if (rows.size(0) > 0)
      throw data::DataError(part.string(), "/ids", first + rows[0][0].item<std::int64_t>(),
                            why + " (target of the part)");
  };
  const std::int64_t n = labels.ids.size(1) - 1;
  const auto sorted = std::get<0>(labels.ids.sort(1));
  refuse((sorted.narrow(1, 1, n) == sorted.narrow(1, 0, n)) & (sorted.narrow(1, 1, n) >= 0), "an item is listed twice");
  if (ordered)
    refuse(labels.logits.narrow(1, 1, n) > labels.logits.narrow(1, 0, n), "the items are not by descending logit");
  refuse((labels.ids >= 0) & labels.logits.isinf(), "a stored item has no finite logit");
}

/// Sums over the targets of the probe.
struct Probe {
  double error = 0, lost = 0, most_lost = 0, kl_renormalised = 0, kl_spread = 0;
  std::int64_t targets = 0;
};

/// Compares with all logits of the teacher [targets, items].
void compare(const TeacherLabels& labels, const Tensor& logits, Probe& probe) {
  const auto has = labels.ids >= 0;
  const auto p = logits.to(torch::kFloat64).log_softmax(1);
  const auto own = logits.gather(1, labels.ids.clamp_min(0));
  probe.error = std::max(probe.error, (labels.logits - own).masked_fill(~has, 0).abs().max().item<double>());
  const auto kept = p.gather(1, labels.ids.clamp_min(0)).exp().masked_fill(~has, 0).sum(1).clamp_max(1);
  const auto lost = (1 - kept).clamp_min(0);
  probe.lost += lost.sum().item<double>();
  probe.most_lost = std::max(probe.most_lost, lost.max().item<double>());
  probe.kl_renormalised -= kept.clamp_min(1e-30).log().sum().item<double>();
  // The tail spread evenly over its items: what a loss with one bucket for the rest takes it for.
  const auto others = (logits.size(1) - has.sum(1)).clamp_min(1).to(torch::kFloat64);
  const auto in_tail = p.exp().scatter(1, labels.ids.where(has, labels.ids.narrow(1, 0, 1)), 0);
  const auto even = (lost / others).clamp_min(1e-300).log();
  probe.kl_spread += (in_tail * (p - even.unsqueeze(1))).sum().item<double>();
  probe.targets += logits.size(0);
}

base::Json probe_set(Workspace& space, const std::string& name, std::int64_t max_length) {
  constexpr std::int64_t kProbeRows = 64;
  const auto teachers = space.label_teachers(name);
  const auto& dataset = space.dataset();
  const data::LabelSet set(space.set_folder(name), dataset, max_length);
  const auto kind = kind_of(set.spec());
  const std::int64_t rows = dataset.info().rows, step = std::max<std::int64_t>(1, rows / kProbeRows);
  const torch::NoGradGuard no_grad;
  Probe probe;
  for (std::int64_t row = 0; row < rows; row += step) {
    const auto batch = dataset.training_batch({row}, max_length);
    if (batch.targets() == 0 || !set.has_row(row)) continue;
    const auto& teacher = teachers.models[teachers.of(row)];
    const auto labels = kind->decode(set.read(batch), {}, teacher->parameters().front().device());
    if (!labels.ids.defined() || !labels.logits.defined()) return nullptr;
    const auto hidden = teacher->forward(make_inputs(batch, labels.ids.device(), 0)).scores.hidden;
    const auto all = at::arange(dataset.info().items, labels.ids.options());
    compare(labels, teacher->table().logits_of(hidden, all), probe);
  }
  const double n = std::max<double>(1, static_cast<double>(probe.targets));
  return {{"targets", probe.targets},
          {"largest_logit_error", probe.error},
          {"mass_left_out", probe.lost / n},
          {"most_mass_left_out", probe.most_lost},
          {"kl_renormalised", probe.kl_renormalised / n},
          {"kl_tail_spread_evenly", probe.kl_spread / n}};
}

}  // namespace

base::Json label_status(Workspace& space) {
  base::Json out = base::Json::object();
  for (const auto& [name, options] : space.job.labels.all()) {
    const auto rows = count_rows(space, name, *options, window_of(space, *options));
    const bool elsewhere = !options->folder.empty();
    const auto stored = elsewhere ? data::read_label_spec(options->folder) : data::LabelSpec();
    out[name] = {{"kind", elsewhere ? stored.kind : options->kind},
                 {"teacher", elsewhere ? stored.teacher : options->teacher},
                 {"rows", rows.labelled},
                 {"stale", rows.stale},
                 {"missing", rows.missing},
                 {"bytes", bytes_in(space.set_folder(name))}};
    if (!rows.why.empty()) out[name]["why"] = rows.why;
  }
  return out;
}

base::Json verify_label_set(const fs::path& folder) {
  auto out = data::inspect_labels(folder);
  const auto kind = kind_of(data::read_label_spec(folder));
  const bool ordered = out.at("kind") != "candidates" && out.at("kind") != "dense";
  data::walk_labels(folder, [&](const fs::path& part, std::int64_t first, const data::LabelRows& rows) {
    check_order(kind->decode(rows, {}, torch::kCPU), ordered, part, first);
  });
  out["order"] = "right";
  return out;
}

base::Json verify_labels(Workspace& space) {
  base::Json out = base::Json::object();
  for (const auto& [name, options] : space.job.labels.all()) {
    const auto folder = space.set_folder(name);
    if (!fs::exists(folder / kManifest)) {
      out[name] = "not there";
      continue;
    }
    const std::int64_t max_length = window_of(space, *options);
    out[name] = verify_label_set(folder);
    const data::LabelSet set(folder, space.dataset(), max_length);  // refuses what does not fit
    const auto targets = data::training_targets(space.dataset(), max_length);
    out[name]["covers"] = targets == 0 ? 1.0 : out[name].at("targets").get<double>() / static_cast<double>(targets);
    if (options->folder.empty()) out[name]["probe"] = probe_set(space, name, max_length);
  }
  return out;
}

}  // namespace decant::trainer
