#include "trainer/scoring.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>

#include "base/random.h"
#include "trainer/labels/label_kind.h"
#include "trainer/online_teacher.h"

namespace decant::trainer {
namespace {

using torch::Tensor;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::uint64_t kDrawnSite = 0x647261776eull;

/// Everything that the losses need together.
struct Union {
  std::set<double> full, rest, outside;
  bool label_logits = false, target = false, moments = false;
  std::int64_t drawn = 0;
};

Union needs_of(const std::vector<NamedLoss>& losses) {
  Union all;
  for (const auto& named : losses) {
    const auto needs = named.loss->needs();
    all.full.insert(needs.full_lse.begin(), needs.full_lse.end());
    all.rest.insert(needs.rest_lse.begin(), needs.rest_lse.end());
    all.outside.insert(needs.outside_lse.begin(), needs.outside_lse.end());
    all.label_logits = all.label_logits || needs.label_logits || !needs.rest_lse.empty();
    all.target = all.target || needs.target_logits;
    all.moments = all.moments || needs.moments;
    all.drawn = std::max(all.drawn, needs.drawn);
  }
  return all;
}

/// log-sum-exp over the columns; -inf, and no gradient, where every entry is.
Tensor log_sum(const Tensor& parts) {
  const auto empty = (parts == -kInfinity).all(1);
  return at::logsumexp(parts.masked_fill(empty.unsqueeze(1), 0), 1).masked_fill(empty, -kInfinity);
}

/// Where each of `ids` [rows, n] stands among `earlier` [rows, m], distinct but for -1; -1: nowhere.
Tensor place_among(const Tensor& earlier, const Tensor& ids) {
  const auto sorted = earlier.sort(1);
  const auto& values = std::get<0>(sorted);
  const auto at = at::searchsorted(values, ids.contiguous()).clamp_max(earlier.size(1) - 1);
  const auto found = (values.gather(1, at) == ids) & (ids >= 0);
  return at::where(found, std::get<1>(sorted).gather(1, at), at::full({}, -1, ids.options()));
}

}  // namespace

std::vector<std::int64_t> rows_of_targets(const data::PackedBatch& batch) {
  std::vector<std::int64_t> rows;
  std::int64_t row = 0;
  for (const auto token : batch.target_tokens) {
    while (token >= batch.offsets[static_cast<std::size_t>(row) + 1]) ++row;
    rows.push_back(row);
  }
  return rows;
}

Tensor view_of(const std::vector<std::int64_t>& values) {
  return torch::from_blob(const_cast<std::int64_t*>(values.data()), {static_cast<std::int64_t>(values.size())},
                          torch::kInt64);
}

Tensor put(const Tensor& host, torch::Device device) {
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host.clone();
}

LabelSets decode_labels(const data::LabelledBatch& batch, const std::vector<NamedLoss>& losses, torch::Device device,
                        const std::set<double>& more) {
  LabelSets sets;
  std::map<std::string, std::set<double>> temperatures;
  for (const auto& named : losses) {
    const auto needs = named.loss->needs();
    for (const auto& set : named.sets) {
      if (set == kOnlineSet) continue;
      temperatures[set].insert(needs.label_rest_lse.begin(), needs.label_rest_lse.end());
      temperatures[set].insert(more.begin(), more.end());
      if (!named.sharing) continue;
      const auto shared = named.sharing->label_rest_lse();
      temperatures[set].insert(shared.begin(), shared.end());
    }
  }
  for (const auto& [set, wanted] : temperatures) {
    const auto& rows = batch.labels.at(set);
    sets[set] = kind_of(*rows.spec)->decode(rows, wanted, device);
  }
  return sets;
}

struct Scoring::Impl {
  /// Columns of the walk: the ids of every set, each id once a row, then the target when something is summed without
  /// it; these are left out of the walk's log-sum-exps. The target follows, for its logit.
  struct Columns {
    Tensor ids;                        // [targets, m]
    std::map<std::string, Tensor> at;  // set -> [targets, k] column of each id; undefined: the first k columns
    Tensor target_at;                  // [targets, 1] column of the target among them; -1: outside
    std::int64_t excluded = 0;
  };

  Impl(const models::Output& given, const data::PackedBatch& packed, LabelSets sets,
       const std::vector<NamedLoss>& losses, const ScoringOptions& given_options)
      : output(given), options(given_options), labels(std::move(sets)), needs(needs_of(losses)) {
    const auto device = output.scores.hidden.device();
    weights = put(torch::from_blob(const_cast<float*>(packed.target_weights.data()), {packed.targets()}), device);
    targets = put(view_of(packed.target_ids), device);
    score_tokens = put(view_of(packed.target_tokens), device);
    name_rows(packed, device);
    lay_out();
    walk();
    if (needs.moments) moments = output.scores.catalogue->moments(output.scores.hidden);
    if (needs.drawn > 0) draw();
  }

  void name_rows(const data::PackedBatch& packed, torch::Device device) {
    auto rows = rows_of_targets(packed);
    auto last = at::zeros({packed.targets()}, torch::kBool);
    for (std::size_t t = 0; t < rows.size(); ++t)
      last.data_ptr<bool>()[t] = t + 1 == rows.size() || rows[t + 1] != rows[t];
    for (auto& row : rows) row = packed.sample_ids[static_cast<std::size_t>(row)];
    sample_ids = put(view_of(rows), device);
    is_last = put(last, device);
  }

  void lay_out() {
    const auto target = targets.unsqueeze(1);
    std::vector<Tensor> parts;
    for (const auto& [set, label] : labels) {
      if (!label.ids.defined() || !needs.label_logits) continue;
      if (parts.empty()) {
        parts.push_back(label.ids);
        columns.excluded = label.ids.size(1);
        continue;
      }
      const auto earlier = at::cat(parts, 1);
      const auto place = place_among(earlier, label.ids);
      const auto own = at::arange(label.ids.size(1), label.ids.options()) + columns.excluded;
      columns.at[set] = at::where(place >= 0, place, own.expand_as(place));
      parts.push_back(label.ids.masked_fill(place >= 0, -1));
      columns.excluded += label.ids.size(1);
    }
    if (!needs.outside.empty() || (options.sampled && !parts.empty())) {
      columns.target_at = place_among(at::cat(parts, 1), target);
      parts.push_back(target.masked_fill(columns.target_at >= 0, -1));
      ++columns.excluded;
    } else if (parts.empty() && options.sampled) {
      columns.excluded = 1;  // a sample may miss the target: it is left out and put back exactly
    }
    parts.push_back(target);
    columns.ids = at::cat(parts, 1);
  }

  void walk() {
    auto all = needs.full;
    all.insert(needs.rest.begin(), needs.rest.end());
    all.insert(needs.outside.begin(), needs.outside.end());
    temperatures.assign(all.begin(), all.end());
    const auto walked =
        output.scores.catalogue->walk(output.scores.hidden, {temperatures, columns.ids, columns.excluded});
    lse = walked.lse;
    logits = walked.logits;
    excluded_logits = logits.narrow(1, 0, columns.excluded);
    if (!labels.empty())
      excluded_logits = excluded_logits.masked_fill(columns.ids.narrow(1, 0, columns.excluded) < 0, -kInfinity);
  }

  /// The walk's log-sum-exp at T, over what it did not exclude.
  [[nodiscard]] Tensor rest_at(double t) const {
    const auto at = std::find(temperatures.begin(), temperatures.end(), t) - temperatures.begin();
    return lse.select(1, at);
  }

  [[nodiscard]] Tensor full_at(double t) {
    auto& known = full[t];
    if (!known.defined())
      known = columns.excluded == 0 ? rest_at(t) : at::logsumexp(excluded_logits / t, 1).logaddexp(rest_at(t));
    return known;
  }

  /// Over all items but the set's, and but the target when `without_target`: the walk's, with what only others exclude
  /// put back. Nothing is subtracted.
  [[nodiscard]] Tensor outside(const std::string& set, double t, bool without_target) const {
    const auto& ids = labels.at(set).ids;
    const bool target_apart = columns.target_at.defined();
    if (ids.size(1) == columns.excluded || (without_target && ids.size(1) + 1 == columns.excluded)) return rest_at(t);
    auto own = at::zeros({ids.size(0), columns.excluded}, ids.options().dtype(torch::kBool));
    const auto at = columns.at.find(set);
    if (at == columns.at.end())
      own.narrow(1, 0, ids.size(1)).fill_(true);
    else
      own.scatter_(1, at->second, true);
    if (without_target && target_apart) {
      const auto last = at::full({}, columns.excluded - 1, ids.options());
      own.scatter_(1, at::where(columns.target_at >= 0, columns.target_at, last), true);
    }
    return log_sum(at::cat({(excluded_logits / t).masked_fill(own, -kInfinity), rest_at(t).unsqueeze(1)}, 1));
  }

  void draw() {
    const auto items = output.scores.catalogue->items();
    const base::Permutation order(static_cast<std::uint64_t>(items), base::key_of(options.step_key, kDrawnSite));
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < std::min(needs.drawn, items); ++i)
      ids.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(i))));
    drawn = put(view_of(ids), output.scores.hidden.device());
    drawn_logits = output.scores.catalogue->logits_of(output.scores.hidden, drawn);
  }

  /// [targets, count] with -inf where a drawn item is one of the row's own.
  [[nodiscard]] Tensor drawn_for(const std::string& set, std::int64_t count) const {
    const auto n = drawn.size(0);
    const auto items = output.scores.catalogue->items();
    auto column = at::full({items + 1}, n, drawn.options());  // item -> its column, n: not drawn; the last: no item
    column.index_put_({drawn}, at::arange(n, drawn.options()));
    auto own = targets.unsqueeze(1);
    if (!set.empty() && labels.at(set).ids.defined()) own = at::cat({own, labels.at(set).ids}, 1);
    const auto hit = column.index_select(0, own.masked_fill(own < 0, items).flatten()).view_as(own);
    auto taken = at::zeros({own.size(0), n + 1}, drawn.options().dtype(torch::kBool));
    taken.scatter_(1, hit, true);
    return drawn_logits.masked_fill(taken.narrow(1, 0, n), -kInfinity).narrow(1, 0, std::min(count, n));
  }

  /// Once a loss: all its sets see the same.
  [[nodiscard]] const Sharing::Shares& shares_of(const NamedLoss& loss) {
    const auto known = shares.find(loss.sharing.get());
    if (known != shares.end()) return known->second;
    return shares.emplace(loss.sharing.get(), loss.sharing->shares(labels, output.scores.hidden, weights))
        .first->second;
  }

  models::Output output;
  ScoringOptions options;
  LabelSets labels;
  Union needs;
  Tensor weights, targets, score_tokens, sample_ids, is_last;
  Columns columns;
  std::vector<double> temperatures;
  Tensor lse, logits, excluded_logits;
  std::map<double, Tensor> full;
  std::map<const Sharing*, Sharing::Shares> shares;
  models::Moments moments;
  Tensor drawn, drawn_logits;
};

Scoring::Scoring(const models::Output& output, const data::PackedBatch& batch, LabelSets labels,
                 const std::vector<NamedLoss>& losses, const ScoringOptions& options)
    : impl_(std::make_unique<Impl>(output, batch, std::move(labels), losses, options)) {}
Scoring::~Scoring() = default;

namespace {

/// Rows `kept` of everything; the labels' absent rows never reach a loss.
void keep_rows(LossInputs& in, const Tensor& kept) {
  const auto cut = [&](Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.index_select(0, kept);
  };
  const auto cut_all = [&](auto& map) {
    for (auto& [key, tensor] : map) cut(tensor);
  };
  for (auto* tensor :
       {&in.target_weights, &in.target_ids, &in.sample_ids, &in.is_last, &in.student.target_logits,
        &in.student.label_logits, &in.student.logit_mean, &in.student.logit_variance, &in.student.drawn_logits,
        &in.teacher.ids, &in.teacher.logits, &in.teacher.draw_weights, &in.teacher.target_logit, &in.teacher.logit_mean,
        &in.teacher.logit_variance, &in.teacher.vectors, &in.teacher.present})
    cut(*tensor);
  for (auto* map : {&in.student.full_lse, &in.student.rest_lse, &in.student.outside_lse, &in.teacher.rest_lse})
    cut_all(*map);
  cut_all(in.taps);
}

}  // namespace

torch::Tensor Scoring::gate_objective(const NamedLoss& loss) const {
  return loss.sharing ? impl_->shares_of(loss).objective : torch::Tensor();
}

LossInputs Scoring::inputs(const NamedLoss& loss, const std::string& set) const {
  auto& from = *impl_;
  const auto needs = loss.loss->needs();
  LossInputs in;
  in.target_weights = from.weights;
  in.target_ids = from.targets;
  in.sample_ids = from.sample_ids;
  in.is_last = from.is_last;
  in.set = set;
  in.step_key = from.options.step_key;
  in.rows = from.options.rows;
  for (const double t : needs.full_lse) in.student.full_lse[t] = from.full_at(t);
  if (needs.target_logits) in.student.target_logits = from.logits.select(1, from.logits.size(1) - 1);
  if (needs.moments) in.student.logit_mean = from.moments.mean, in.student.logit_variance = from.moments.variance;
  if (needs.drawn > 0) in.student.drawn_logits = from.drawn_for(set, needs.drawn);
  for (const auto& tap : needs.taps)
    in.taps[tap] =
        tap == "hidden" ? from.output.scores.hidden : from.output.taps.at(tap).index_select(0, from.score_tokens);
  if (set.empty()) return in;
  in.teacher = from.labels.at(set);
  if (loss.sharing) {
    const auto place = std::find(loss.sets.begin(), loss.sets.end(), set) - loss.sets.begin();
    in.target_weights = in.target_weights * from.shares_of(loss).weights.select(1, place);
  }
  if (needs.label_logits) {
    const auto at = from.columns.at.find(set);
    in.student.label_logits = at == from.columns.at.end() ? from.excluded_logits.narrow(1, 0, in.teacher.ids.size(1))
                                                          : from.excluded_logits.gather(1, at->second);
    if (at != from.columns.at.end())
      in.student.label_logits = in.student.label_logits.masked_fill(in.teacher.ids < 0, -kInfinity);
  }
  for (const double t : needs.rest_lse) in.student.rest_lse[t] = from.outside(set, t, false);
  for (const double t : needs.outside_lse) in.student.outside_lse[t] = from.outside(set, t, true);
  if (in.teacher.trust.defined()) in.target_weights = in.target_weights * in.teacher.trust;
  if (in.teacher.present.defined()) {
    const auto kept = in.teacher.present.nonzero().squeeze(1);
    if (kept.size(0) < in.teacher.present.size(0)) keep_rows(in, kept);
  }
  return in;
}

}  // namespace decant::trainer
