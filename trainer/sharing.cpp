#include "trainer/sharing.h"

#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>

#include <limits>
#include <numeric>

namespace decant::trainer {
namespace {

using torch::Tensor;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

ShareRule rule_of(const std::string& sharing) {
  if (sharing == "confidence") return ShareRule::kConfidence;
  return sharing == "disagreement" ? ShareRule::kDisagreement : ShareRule::kFixed;
}

/// log of the teacher's probability of the target at T = 1; -inf where it has no label.
Tensor log_probability(const TeacherLabels& teacher) {
  const auto log_p = -teacher_cross_entropy(teacher);
  return teacher.present.defined() ? log_p.masked_fill(~teacher.present, -kInfinity) : log_p;
}

}  // namespace

Sharing::Sharing(const LabelLossOptions& options)
    : sets_(options.labels),
      fixed_(options.shares),
      rule_(rule_of(options.sharing)),
      gated_(options.sharing == "gate") {
  if (gated_ && !fixed_.empty()) throw base::ConfigError("'shares' are learned with 'sharing: gate': leave them out");
  if (fixed_.empty()) fixed_.assign(sets_.size(), 1.0);
  if (fixed_.size() != sets_.size())
    throw base::ConfigError("'shares' has " + std::to_string(fixed_.size()) + " values for " +
                            std::to_string(sets_.size()) + " label sets (" + base::join(sets_) + ")");
  if (std::accumulate(fixed_.begin(), fixed_.end(), 0.0) <= 0) throw base::ConfigError("'shares' are all 0");
}

void Sharing::prepare(const LossContext& context) {
  if (!gated_) return;
  const auto sets = static_cast<std::int64_t>(sets_.size());
  gate_ = register_module("gate", torch::nn::Linear(context.tap_widths.at("hidden"), sets));
  const torch::NoGradGuard no_grad;
  gate_->weight.zero_();
  gate_->bias.zero_();
}

std::vector<double> Sharing::label_rest_lse() const {
  return by_target() ? std::vector<double>{1.0} : std::vector<double>{};
}

Tensor Sharing::present(const LabelSets& labels, const Tensor& like) const {
  std::vector<Tensor> columns;
  for (const auto& set : sets_) {
    const auto& present = labels.at(set).present;
    columns.push_back(present.defined() ? present : at::ones({like.size(0)}, like.options().dtype(torch::kBool)));
  }
  return at::stack(columns, 1);
}

Sharing::Shares Sharing::shares(const LabelSets& labels, const Tensor& hidden, const Tensor& target_weights) {
  if (!gated_) {
    std::vector<const TeacherLabels*> sets;
    for (const auto& set : sets_) sets.push_back(&labels.at(set));
    return {label_shares(sets, rule_, fixed_, target_weights.size(0), target_weights.device()), {}};
  }
  const auto there = present(labels, target_weights);
  const auto some = there.any(1, true);
  const auto log_share = at::log_softmax(gate_->forward(hidden.detach()).masked_fill(~there & some, -kInfinity), 1);
  std::vector<Tensor> own;
  for (const auto& set : sets_) own.push_back(log_probability(labels.at(set)));
  const auto none = ~(there & some);
  const auto mixture = (log_share + at::stack(own, 1)).masked_fill(none, -kInfinity).masked_fill(~some, 0);
  const auto objective = -(at::logsumexp(mixture, 1).masked_fill(~some.squeeze(1), 0) * target_weights).sum();
  return {log_share.detach().exp().masked_fill(none, 0), objective};
}

}  // namespace decant::trainer
