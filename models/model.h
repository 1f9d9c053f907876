// A model that turns packed histories into catalogue scores, and the registry of them.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/registry.h"
#include "models/exchange.h"
#include "models/inputs.h"
#include "models/table.h"
#include "models/weights_file.h"

namespace decant::models {

struct InputColumn;

/// Counts for the report: the table, on whatever ranks it lies, and everything else.
struct ParameterCount {
  std::int64_t table = 0, encoder = 0;
  [[nodiscard]] std::int64_t total() const { return table + encoder; }
};

class SequenceModel : public torch::nn::Module {
 public:
  /// Throws ConfigError for a tap that the model does not publish.
  [[nodiscard]] virtual Output forward(const Inputs& inputs, const std::set<std::string>& wanted_taps = {}) = 0;
  [[nodiscard]] virtual Table& table() = 0;
  /// Longest window it takes, in inputs.
  [[nodiscard]] virtual std::int64_t max_length() const = 0;
  [[nodiscard]] virtual std::vector<std::string> tap_names() const = 0;
  /// Written into weight files (model, dim, layers, ...), so that other programs can rebuild it.
  [[nodiscard]] virtual std::map<std::string, std::string> spec() const = 0;
  [[nodiscard]] ParameterCount parameter_count();
  /// Works out once what no longer changes when the model only serves: call it in evaluation, weights in place.
  virtual void prepare_serving() {}
  /// What is saved as the model's weights: what a model made with ModelContext::exported takes. Default: the parameters.
  /// Of a sharded table it is this rank's part.
  [[nodiscard]] virtual NamedTensors weights();
};

/// What every model's factory is given beside its options.
struct ModelContext {
  std::int64_t items = 0;
  std::uint64_t seed = 0;          // initial values are functions of it
  std::int64_t teacher_width = 0;  // of its item vectors; 0: not known, below 0: this is the teacher
  /// Rows of the teacher's item vectors: ids [n] int64 -> [n, width] on the CPU; empty: none to begin from. Collective
  /// where the teacher's table is.
  std::function<torch::Tensor(const torch::Tensor& ids)> teacher_rows = {};
  /// What a table sharded over `shards` ranks works with (0: over all); empty: one rank.
  std::function<std::shared_ptr<Exchange>(std::int64_t shards)> exchange = {};
  /// Columns that the dataset has (models/input_columns.h), by full name; null: not known here.
  const std::map<std::string, InputColumn>* columns = nullptr;
  bool exported = false;  // in the form in which weights are saved, not in that in which they are trained
};

using ModelRegistry = base::Registry<SequenceModel, const ModelContext&>;

/// Adds decant's own models: "sasrec", "gru4rec", and "torchscript".
void register_models(ModelRegistry& registry);

}  // namespace decant::models
