// Losses: plain autograd on small tensors that one walk over the catalogue has prepared. One file and one row each.
#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/registry.h"
#include "data/loader.h"
#include "dist/communicator.h"
#include "models/weights_file.h"
#include "trainer/value_schedule.h"

namespace decant::trainer {

class RowGather;

/// sample: what a target adds depends on that target alone. batch: on other rows of the step too, of any rank.
enum class Scope { kSample, kBatch };

/// What a loss asks the step for. The step takes the union over all losses and serves it by one walk.
struct LossNeeds {
  std::vector<double> full_lse;  // temperatures T: log-sum-exp of logits/T over the whole catalogue
  std::vector<double> rest_lse;  // the same over the items outside the label's ids
  bool target_logits = false;
  bool label_logits = false;           // the student's logits of the label's ids
  bool labels = false;                 // a teacher's labels; a loss with labels is dropped from the control
  std::vector<double> label_rest_lse;  // temperatures at which the labels' own rest_lse is needed
  std::int64_t least_k = 1;            // with label_logits: the fewest stored ids it can work with
  std::set<std::string> label_kinds{"topk", "dense"};  // kinds it works on; of others, ids may be -1 (none)
  std::vector<double> outside_lse;                     // as rest_lse, with the target left out too
  bool label_target_logit = false;                     // the teacher's logit of the target
  bool label_moments = false;                          // mean and variance of the teacher's logits
  bool moments = false;                                // and of the student's, over the whole catalogue
  std::int64_t drawn = 0;                              // items drawn uniformly, one set a step
  std::set<std::string> taps;                          // the student's; "hidden": the rows that are scored
  double drawn_at = 0;  // temperature that the labels' ids must have been drawn at; 0: any
  Scope scope = Scope::kSample;
};

/// Teacher's side of one label set, float32 on the student's device, detached. What the set's kind lacks is undefined.
struct TeacherLabels {
  torch::Tensor present;                     // [targets] bool; undefined: every target has a label
  torch::Tensor ids;                         // [targets, k] int64, distinct in a row; -1: none
  torch::Tensor logits;                      // [targets, k] raw; -inf where ids is -1
  std::map<double, torch::Tensor> rest_lse;  // T -> [targets] absolute; -inf when the complement is empty
  torch::Tensor draw_weights;                // [targets, k] sampled kind: unbiased importance weights of the ids ...
  double drawn_at = 0;                       // ... at this temperature
  torch::Tensor target_logit;                // [targets]
  torch::Tensor logit_mean, logit_variance;  // [targets] over the whole catalogue
  torch::Tensor vectors;                     // [targets, d] hidden kind
  torch::Tensor trust;                       // [targets] factor of a label's weight (screening); undefined: 1
};

/// Student's side; only what was asked for is defined. All [targets] or [targets, k], float32, differentiable.
struct StudentScores {
  torch::Tensor target_logits;
  torch::Tensor label_logits;  // -inf where the label's id is -1
  std::map<double, torch::Tensor> full_lse, rest_lse, outside_lse;
  torch::Tensor logit_mean, logit_variance;
  torch::Tensor drawn_logits;  // [targets, drawn]; -inf where the item is among the label's ids or is the target
};

/// What a loss sees of a micro-batch, and of one label set. Targets without a label in it are left out.
struct LossInputs {
  torch::Tensor target_weights;  // [targets], times the set's share
  StudentScores student;
  TeacherLabels teacher;                      // empty tensors when the loss needs no labels
  std::string set;                            // which label set; "" without labels
  std::map<std::string, torch::Tensor> taps;  // [targets, d]
  torch::Tensor target_ids;                   // [targets] int64
  torch::Tensor sample_ids;                   // [targets] int64, row in the dataset
  torch::Tensor is_last;                      // [targets] bool: the last target of its row
  std::uint64_t step_key = 0;                 // keys draws that all ranks share
  RowGather* rows = nullptr;                  // batch scope: rows of all ranks
};

/// What only a run knows; given once, before training.
struct LossContext {
  std::int64_t items = 0, samples = 0;                  // of the catalogue, of the dataset (rows)
  std::uint64_t seed = 0;                               // first values are functions of it
  std::map<std::string, std::int64_t> tap_widths{};     // of the taps asked for
  std::map<std::string, std::int64_t> vector_widths{};  // by label set of the hidden kind
  int rank = 0, ranks = 1;
};

struct LossOptions : base::Options {
  double weight = 1;
  ValueSchedule weight_schedule;
  void describe(base::Fields& fields) override;
};

/// Of a loss that works on labels: which sets, and how several share a target (trainer/sharing.h).
struct LabelLossOptions : LossOptions {
  std::vector<std::string> labels{"teacher"};
  std::string sharing = "fixed";  // fixed | confidence | disagreement | gate: docs/losses.md
  std::vector<double> shares;     // by set, not of a gate; empty: equal
  void describe(base::Fields& fields) override;
};

/// Returns sums, never means: the step divides by the weights of the whole step over all ranks. Parameters of a loss
/// (projections) are optimised and checkpointed, and dropped at export.
class Loss : public torch::nn::Module {
 public:
  /// Those of the running step; before the first begin_step, those of any step.
  [[nodiscard]] virtual LossNeeds needs() const = 0;
  /// Makes what depends on widths and counts (parameters, banks). Throws ConfigError for what does not fit.
  virtual void prepare(const LossContext& context);
  /// Before every step, with the same number on every rank; may be called again for the same step.
  virtual void begin_step(std::int64_t step);
  /// Sum over targets of weight times loss, [] float32. Batch scope: all ranks call it together, also without targets.
  [[nodiscard]] virtual torch::Tensor sum(const LossInputs& inputs) = 0;
  /// What the step's sum is divided by, of this micro-batch; asked before any forward. Default: the target weights.
  [[nodiscard]] virtual double weight(const data::LabelledBatch& batch) const;
  /// After the optimiser's step.
  virtual void end_step();
  /// What is kept of the loss beside its parameters: whole, the same at any number of ranks. Collective.
  [[nodiscard]] virtual models::NamedTensors state(dist::Communicator& communicator);
  /// Takes what state() gave, in the same order.
  virtual void restore(const models::NamedTensors& state);
};

using LossRegistry = base::Registry<Loss>;

/// Adds decant's own losses (docs/losses.md).
void register_losses(LossRegistry& registry);

}  // namespace decant::trainer
