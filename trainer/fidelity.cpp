#include "trainer/fidelity.h"

#include <ATen/ops/logsumexp.h>
#include <ATen/ops/triu.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "trainer/blocks.h"
#include "trainer/next_item.h"
#include "trainer/ranking.h"

namespace decant::trainer {
namespace {

constexpr std::int64_t kTauDepths[] = {10, 20, 50};
constexpr auto kValid = data::Split::kValid;

std::int64_t to_fixed(double value) { return std::llround(value * kFidelityUnit); }

/// [targets] KL over the listed items and one bucket for all others, float64.
torch::Tensor divergence(const torch::Tensor& teacher, const torch::Tensor& teacher_rest, const torch::Tensor& side,
                         const torch::Tensor& side_rest) {
  const auto split = [](const torch::Tensor& head, const torch::Tensor& rest) {
    const auto all = at::logsumexp(head, 1).logaddexp(rest);
    return std::pair{head - all.unsqueeze(1), rest - all};
  };
  const auto [log_q, log_q_rest] = split(teacher, teacher_rest);
  const auto [log_p, log_p_rest] = split(side, side_rest);
  const auto tail = (log_q_rest.exp() * (log_q_rest - log_p_rest)).masked_fill(log_q_rest.isinf(), 0);
  return ((log_q.exp() * (log_q - log_p)).sum(1) + tail).to(torch::kFloat64).cpu();
}

/// For each target, how many items both lists share in their first 1, 2, ... places.
std::vector<std::vector<std::int64_t>> shared_prefixes(const torch::Tensor& a, const torch::Tensor& b) {
  const auto depth = a.size(1);
  std::vector<std::vector<std::int64_t>> shared(static_cast<std::size_t>(a.size(0)),
                                                std::vector<std::int64_t>(static_cast<std::size_t>(depth)));
  const auto places = (a.unsqueeze(2) == b.unsqueeze(1)).nonzero().cpu().contiguous();
  const auto* place = places.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < places.size(0); ++i, place += 3)
    ++shared[static_cast<std::size_t>(place[0])][static_cast<std::size_t>(std::max(place[1], place[2]))];
  for (auto& row : shared)
    for (std::size_t d = 1; d < row.size(); ++d) row[d] += row[d - 1];
  return shared;
}

/// Concordant less discordant pairs of all targets; a tie on either side counts for neither.
std::int64_t concordance(const torch::Tensor& teacher, const torch::Tensor& side) {
  const auto order = [](const torch::Tensor& scores) { return (scores.unsqueeze(2) - scores.unsqueeze(1)).sign(); };
  return at::triu(order(teacher) * order(side), 1).to(torch::kInt64).sum().item<std::int64_t>();
}

/// Everything that is summed, flat for an all-reduce.
struct Sums {
  std::int64_t targets = 0, kl = 0, rbo = 0;
  std::vector<std::int64_t> shared, concordant;  // by cutoff
  [[nodiscard]] std::vector<std::int64_t> flat() const {
    std::vector<std::int64_t> out{targets, kl, rbo};
    out.insert(out.end(), shared.begin(), shared.end());
    out.insert(out.end(), concordant.begin(), concordant.end());
    return out;
  }
};

Fidelity means_of(const std::vector<std::int64_t>& flat, std::int64_t items) {
  const double targets = std::max<double>(1, static_cast<double>(flat[0]));
  Fidelity out;
  out.kl = static_cast<double>(flat[1]) / kFidelityUnit / targets;
  out.rbo = static_cast<double>(flat[2]) / kFidelityUnit / targets;
  std::size_t at = 3;
  for (const auto k : kCutoffs)
    out.overlap[k] = static_cast<double>(flat[at++]) / targets / static_cast<double>(std::min(k, items));
  for (const auto k : kTauDepths) {
    const auto n = static_cast<double>(std::min(k, items));
    out.tau[k] = n < 2 ? 0 : static_cast<double>(flat[at]) / targets / (n * (n - 1) / 2);
    ++at;
  }
  return out;
}

}  // namespace

double rank_biased_overlap(const std::vector<std::int64_t>& shared, double p) {
  const auto depth = shared.size();
  double sum = 0, power = 1;  // power: p^d
  for (std::size_t d = 1; d <= depth; ++d) {
    power *= p;
    sum += static_cast<double>(shared[d - 1]) / static_cast<double>(d) * power;
  }
  return static_cast<double>(shared.back()) / static_cast<double>(depth) * power + (1 - p) / p * sum;
}

Fidelity measure_fidelity(models::SequenceModel& teacher, models::SequenceModel& side, const data::Dataset& dataset,
                          double rbo_p, Context& context, std::vector<TargetFidelity>* kept) {
  const EvaluationMode teacher_mode(teacher), side_mode(side);
  const auto device = context.communicator.device();
  const auto items = dataset.info().items;
  const bool together = teacher.table().collective() || side.table().collective();
  Sums sums;
  sums.shared.resize(std::size(kCutoffs));
  sums.concordant.resize(std::size(kTauDepths));
  std::mutex mutex;
  const auto visit = [&](std::int64_t block) {
    const auto rows = [&](models::SequenceModel& model) {
      return evaluation_block(dataset, kValid, block, model.max_length());
    };
    const auto batch = rows(teacher);
    if (batch.targets() == 0 && !together) return;
    const auto of_teacher = ask(teacher, make_inputs(batch, device, 0)).scores;
    const auto of_side = ask(side, make_inputs(rows(side), device, 0)).scores;
    const auto depth = std::min(kListDepth, items);
    const auto best = teacher.table().topk(of_teacher.hidden, {depth, {1.0}, {}});
    const auto own = side.table().topk(of_side.hidden, {depth, {}, {}}).ids;
    const auto walked = of_side.catalogue->walk(of_side.hidden, {{1.0}, best.ids, depth});
    const auto kl = divergence(best.logits, best.rest_lse.select(1, 0), walked.logits, walked.lse.select(1, 0));
    const auto shared = shared_prefixes(best.ids, own);
    std::vector<std::int64_t> concordant;
    for (const auto k : kTauDepths) {
      const auto n = std::min(k, depth);
      concordant.push_back(concordance(best.logits.narrow(1, 0, n), walked.logits.narrow(1, 0, n)));
    }
    const std::lock_guard lock(mutex);
    for (std::size_t i = 0; i < std::size(kTauDepths); ++i) sums.concordant[i] += concordant[i];
    for (std::size_t t = 0; t < shared.size(); ++t) {
      const auto at = [&](std::int64_t k) { return shared[t][static_cast<std::size_t>(std::min(k, depth) - 1)]; };
      const auto fixed = to_fixed(kl.data_ptr<double>()[t]);
      ++sums.targets;
      sums.kl += fixed;
      sums.rbo += to_fixed(rank_biased_overlap(shared[t], rbo_p));
      for (std::size_t i = 0; i < std::size(kCutoffs); ++i) sums.shared[i] += at(kCutoffs[i]);
      if (kept != nullptr) kept->push_back({batch.sample_ids[t], fixed, at(10)});
    }
  };
  for_each_evaluation_block(dataset, together, context, visit);
  if (kept != nullptr)
    std::sort(kept->begin(), kept->end(), [](const auto& a, const auto& b) { return a.row < b.row; });
  auto flat = sums.flat();
  context.communicator.all_reduce_host(flat, dist::Reduce::kSum);
  return means_of(flat, items);
}

namespace {

/// Sums of one bin.
struct BinSum {
  std::int64_t targets = 0, expected = 0, found = 0;
  void add(double what_is_expected, double what_came) {
    ++targets;
    expected += to_fixed(what_is_expected);
    found += to_fixed(what_came);
  }
};

std::size_t bin_of(double probability, std::size_t bins) {
  return std::min(bins - 1, static_cast<std::size_t>(std::max(0.0, probability) * static_cast<double>(bins)));
}

/// Mean distance over bins, weighted by targets, and the bins.
std::pair<double, std::vector<CalibrationBin>> error_of(const std::int64_t* flat, std::size_t bins,
                                                        std::int64_t targets) {
  std::vector<CalibrationBin> out;
  double sum = 0;
  for (std::size_t b = 0; b < bins; ++b, flat += 3) {
    const double count = std::max<double>(1, static_cast<double>(flat[0]));
    out.push_back({flat[0], static_cast<double>(flat[1]) / kFidelityUnit / count,
                   static_cast<double>(flat[2]) / kFidelityUnit / count});
    sum += static_cast<double>(std::abs(flat[1] - flat[2])) / kFidelityUnit;
  }
  return {sum / std::max<double>(1, static_cast<double>(targets)), std::move(out)};
}

}  // namespace

Calibration measure_calibration(models::SequenceModel& model, const data::Dataset& dataset, std::int64_t bins,
                                Context& context) {
  const EvaluationMode mode(model);
  const auto device = context.communicator.device();
  const bool together = model.table().collective();
  const auto count = static_cast<std::size_t>(bins);
  std::vector<BinSum> top1(count), target(count);
  std::int64_t nll = 0, targets = 0;
  std::mutex mutex;
  const auto visit = [&](std::int64_t block) {
    const auto batch = evaluation_block(dataset, kValid, block, model.max_length());
    if (batch.targets() == 0 && !together) return;
    const auto scores = ask(model, make_inputs(batch, device, 0)).scores;
    const auto ids = torch::tensor(batch.target_ids, torch::kInt64).to(device);
    // The lse at T = 1/2 is that of twice the logits: with it comes the sum of squared probabilities.
    const auto best = model.table().topk(scores.hidden, {1, {0.5, 1.0}, ids});
    const auto first = best.logits.select(1, 0).to(torch::kFloat64);
    const auto rest = best.rest_lse.to(torch::kFloat64);
    const auto lse = first.logaddexp(rest.select(1, 1));
    const auto log_squares = (first * 2).logaddexp(rest.select(1, 0)) - lse * 2;
    const auto host = [](const torch::Tensor& values) { return values.cpu().contiguous(); };
    const auto of_first = host((first - lse).exp()), of_squares = host(log_squares.exp());
    const auto of_target = host(best.target_logit.to(torch::kFloat64) - lse);
    const auto hits = host((best.ids.select(1, 0) == ids).to(torch::kFloat64));
    const std::lock_guard lock(mutex);
    for (std::int64_t i = 0; i < batch.targets(); ++i) {
      const double p = of_first.data_ptr<double>()[i], squares = of_squares.data_ptr<double>()[i];
      const double log_p = of_target.data_ptr<double>()[i];
      top1[bin_of(p, count)].add(p, hits.data_ptr<double>()[i]);
      target[bin_of(squares, count)].add(squares, std::exp(log_p));
      nll -= to_fixed(log_p);
    }
    targets += batch.targets();
  };
  for_each_evaluation_block(dataset, together, context, visit);
  std::vector<std::int64_t> flat{targets, nll};
  for (const auto* side : {&top1, &target})
    for (const auto& bin : *side) flat.insert(flat.end(), {bin.targets, bin.expected, bin.found});
  context.communicator.all_reduce_host(flat, dist::Reduce::kSum);
  Calibration out;
  out.nll = static_cast<double>(flat[1]) / kFidelityUnit / std::max<double>(1, static_cast<double>(flat[0]));
  std::tie(out.top1_error, out.top1_bins) = error_of(flat.data() + 2, count, flat[0]);
  std::tie(out.target_error, out.target_bins) = error_of(flat.data() + 2 + 3 * count, count, flat[0]);
  return out;
}

}  // namespace decant::trainer
