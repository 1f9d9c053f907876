// GRU4Rec's encoder as an ONNX graph, on histories filled up on the right: the GRU ends at each one's length.
#include "models/gru4rec.h"

namespace decant::models {

namespace {

using Value = OnnxGraph::Value;

/// Rows of the gates r, z, n as ONNX has them: z, r, n.
Value by_onnx(OnnxGraph& graph, const Value& gates) {
  const auto each = graph.add("Split", {gates}, 3, {{"axis", std::int64_t{0}}});
  return graph.add("Concat", {each[1], each[0], each[2]}, {{"axis", std::int64_t{0}}});
}

/// For the one direction that there is: [1, ...].
Value one_direction(OnnxGraph& graph, const Value& value) { return graph.add("Unsqueeze", {value, graph.list({0})}); }

}  // namespace

OnnxGraph::Value Gru4Rec::encode(OnnxGraph& graph, const Value& items, const Value& lengths) const {
  const auto ends = graph.cast(lengths, OnnxGraph::Type::kInt32);
  const auto vectors = columns_ ? columns_->lookup(graph, items, "item.weight") : graph.rows("item.weight", items);
  auto x = graph.add("Transpose", {vectors}, {{"perm", std::vector<std::int64_t>{1, 0, 2}}});
  Value last;  // [batch, hidden]
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    const std::string name = "layers." + std::to_string(i) + ".";
    const auto gates = [&](const char* of) { return by_onnx(graph, graph.weight(name + of)); };
    const auto biases = graph.add("Concat", {gates("bias_ih"), gates("bias_hh")}, {{"axis", std::int64_t{0}}});
    const auto states = graph.add("GRU",
                                  {x, one_direction(graph, gates("weight_ih")),
                                   one_direction(graph, gates("weight_hh")), one_direction(graph, biases), ends},
                                  2, {{"hidden_size", options_.hidden}, {"linear_before_reset", std::int64_t{1}}});
    x = graph.add("Squeeze", {states[0], graph.list({1})});
    last = graph.add("Squeeze", {states[1], graph.list({0})});
  }
  return out_ ? graph.linear("out", last) : last;
}

}  // namespace decant::models
