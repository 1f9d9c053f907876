// Parameters whose rows are dealt over ranks, and what is kept of them, as files hold them: whole.
#pragma once

#include <string>
#include <vector>

#include "models/model.h"
#include "models/sharded_table.h"

namespace decant::trainer {

struct ShardedParameter {
  std::string name;
  torch::Tensor own;                      // this rank's rows
  models::ShardedTable* table = nullptr;  // which they are of
};

/// Of a model; none when its table lies here whole.
[[nodiscard]] std::vector<ShardedParameter> sharded_parameters(models::SequenceModel& model);

/// Ranks of `ranks` that hold the table of a side together, by the options of its model; 0 when it is not sharded. Throws
/// ConfigError when they cannot be divided into groups of as many.
[[nodiscard]] int table_shards(const base::Json& side, int ranks);

/// What is exchanged by the reducer: all but those.
[[nodiscard]] models::NamedTensors replicated(const models::NamedTensors& parameters,
                                              const std::vector<ShardedParameter>& sharded);

/// Tensors under "<prefix><name>" as files hold them. One named as a sharded parameter, or "<its name>/<slot>" with as many
/// rows, is put together of all ranks' rows: giving such a one is collective.
[[nodiscard]] std::vector<models::LogicalTensor> logical_tensors(const models::NamedTensors& tensors,
                                                                 const std::vector<ShardedParameter>& sharded,
                                                                 const std::string& prefix = "");

}  // namespace decant::trainer
