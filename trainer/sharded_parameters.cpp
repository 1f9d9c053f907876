#include "trainer/sharded_parameters.h"

#include <algorithm>

namespace decant::trainer {

std::vector<ShardedParameter> sharded_parameters(models::SequenceModel& model) {
  auto* table = dynamic_cast<models::ShardedTable*>(&model.table());
  std::vector<ShardedParameter> out;
  if (table == nullptr) return out;
  for (const auto& item : model.named_parameters())
    if (item.value().is_same(table->weight)) out.push_back({item.key(), item.value(), table});
  return out;
}

int table_shards(const base::Json& side, int ranks) {
  const auto table = side.at("model").value("table", base::Json::object());
  if (!table.is_object() || table.value("kind", "") != "sharded") return 0;
  const auto asked = table.value("shards", std::int64_t{0});
  const int shards = asked == 0 ? ranks : static_cast<int>(std::min<std::int64_t>(asked, ranks));
  if (ranks % shards != 0)
    throw base::ConfigError("'model.table.shards: " + std::to_string(shards) + "' does not divide the " +
                            std::to_string(ranks) + " ranks");
  return shards;
}

models::NamedTensors replicated(const models::NamedTensors& parameters, const std::vector<ShardedParameter>& sharded) {
  models::NamedTensors out;
  for (const auto& named : parameters)
    if (std::none_of(sharded.begin(), sharded.end(), [&](const auto& own) { return own.name == named.first; }))
      out.push_back(named);
  return out;
}

std::vector<models::LogicalTensor> logical_tensors(const models::NamedTensors& tensors,
                                                   const std::vector<ShardedParameter>& sharded,
                                                   const std::string& prefix) {
  std::vector<models::LogicalTensor> out;
  for (const auto& [name, tensor] : tensors) {
    const auto of = std::find_if(sharded.begin(), sharded.end(), [&, &key = name, &values = tensor](const auto& own) {
      return key == own.name || (key.starts_with(own.name + "/") && values.sizes() == own.own.sizes());
    });
    out.push_back(of == sharded.end() ? models::whole_tensor(prefix + name, tensor)
                                      : of->table->whole(prefix + name, tensor));
  }
  return out;
}

}  // namespace decant::trainer
