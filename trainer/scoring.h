// From a model's output to what each loss asked for: one walk over the catalogue serves all losses and label sets.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/model.h"
#include "trainer/sharing.h"
#include "trainer/task.h"

namespace decant::trainer {

/// The values as a tensor, not copied.
[[nodiscard]] torch::Tensor view_of(const std::vector<std::int64_t>& values);

/// A copy on the device; from pinned memory where that lets the copy run beside the host.
[[nodiscard]] torch::Tensor put(const torch::Tensor& host, torch::Device device);

/// [targets] the sequence of the batch that each target belongs to.
[[nodiscard]] std::vector<std::int64_t> rows_of_targets(const data::PackedBatch& batch);

/// The stored labels of a batch that `losses` work on, on `device`; the set "online" is left out. `more`: temperatures
/// that somebody else asks of their rest_lse.
[[nodiscard]] LabelSets decode_labels(const data::LabelledBatch& batch, const std::vector<NamedLoss>& losses,
                                      torch::Device device, const std::set<double>& more = {});

/// Beside the model's output.
struct ScoringOptions {
  bool sampled = false;  // the catalogue is a sample of the table
  std::uint64_t step_key = 0;
  RowGather* rows = nullptr;  // may be null when no loss has batch scope
};

class Scoring {
 public:
  /// `output.taps` as the model gave them, [tokens, d].
  Scoring(const models::Output& output, const data::PackedBatch& batch, LabelSets labels,
          const std::vector<NamedLoss>& losses, const ScoringOptions& options);
  ~Scoring();
  /// What `loss` sees of label set `set` ("": a loss without labels). With several sets, target weights carry its share.
  [[nodiscard]] LossInputs inputs(const NamedLoss& loss, const std::string& set) const;
  /// What the gate between the label sets of `loss` learns from, a sum over targets; undefined when it has none.
  [[nodiscard]] torch::Tensor gate_objective(const NamedLoss& loss) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace decant::trainer
