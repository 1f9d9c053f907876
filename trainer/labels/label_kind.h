// Kinds of labels: what of a teacher's output is kept, as columns, and how a loss gets it back. One file and one row each.
#pragma once

#include <torch/types.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/registry.h"
#include "data/dataset.h"
#include "data/label_store.h"
#include "models/table.h"
#include "trainer/loss.h"

namespace decant::trainer {

/// The teacher's side of one block of rows, without gradients.
struct TeacherBlock {
  const data::PackedBatch& batch;  // training windows
  const data::Dataset& dataset;
  std::int64_t first_row = 0, last_row = 0;   // of the block, for messages
  torch::Tensor hidden;                       // [targets, dim] what is scored
  models::Table* table = nullptr;             // against which
  torch::Tensor targets;                      // [targets] int64, what came
  std::map<std::string, torch::Tensor> taps;  // [targets, d], those of LabelKind::taps
  const models::Spread* spread = nullptr;     // of the table; null: made when it is asked for
};

/// What decides the width of columns.
struct LabelShape {
  const data::Dataset& dataset;
  std::int64_t max_length = 0;
  std::map<std::string, std::int64_t> tap_widths;  // of LabelKind::taps
  data::Element values = data::Element::kF16;      // dtype of logits and vectors
};

class LabelKind {
 public:
  virtual ~LabelKind() = default;
  /// Throws ConfigError when the kind cannot be had of this data.
  [[nodiscard]] virtual std::vector<data::LabelColumn> columns(const LabelShape& shape) const = 0;
  /// Fills every column of `out`. Throws NumericError when a score is not finite. Any thread.
  virtual void make(const TeacherBlock& block, data::LabelRows& out) const = 0;
  /// float32 on `device`; `temperatures`: of rest_lse, each one that has_rest() has. Columns that another program left
  /// out give undefined tensors.
  [[nodiscard]] virtual TeacherLabels decode(const data::LabelRows& rows, const std::set<double>& temperatures,
                                             torch::Device device) const = 0;
  [[nodiscard]] virtual std::set<std::string> taps() const { return {}; }
  /// Ids a target when the catalogue is large enough; 0: none.
  [[nodiscard]] virtual std::int64_t ids() const { return 0; }
  /// Temperatures at which there is the log-sum-exp of the items that are not stored.
  [[nodiscard]] virtual bool has_rest(double /*temperature*/) const { return false; }
  [[nodiscard]] virtual bool has_moments() const { return true; }
  /// Whether the ids are the teacher's best items, the best first.
  [[nodiscard]] virtual bool ranked() const { return false; }
  /// Whether it needs all logits of a target at once.
  [[nodiscard]] virtual bool whole_rows() const { return false; }
  /// Temperature that the ids were drawn at; 0: they were not drawn from the teacher.
  [[nodiscard]] virtual double drawn_at() const { return 0; }
};

using LabelKindRegistry = base::Registry<LabelKind>;

/// topk, top_p, dense, sampled, candidates, hidden.
[[nodiscard]] const LabelKindRegistry& label_kinds();

/// The kind that a stored set says it is, with its stored options.
[[nodiscard]] std::shared_ptr<LabelKind> kind_of(const data::LabelSpec& spec);

/// Each is defined in the file of its name and registered in kinds.cpp.
void add_topk(LabelKindRegistry& registry);
void add_top_p(LabelKindRegistry& registry);
void add_dense(LabelKindRegistry& registry);
void add_sampled(LabelKindRegistry& registry);
void add_candidates(LabelKindRegistry& registry);
void add_hidden(LabelKindRegistry& registry);

}  // namespace decant::trainer
