// SASRec's encoder as an ONNX graph, on histories filled up on the right: what comes after the last item is never
// attended to from it.
#include <cmath>
#include <limits>

#include "models/sasrec.h"

namespace decant::models {

namespace {

using Value = OnnxGraph::Value;
using Integers = std::vector<std::int64_t>;

struct Shapes {
  Value split;  // [batch, length, 3, heads, dim / heads]
  Value flat;   // [batch * length, dim]
  Value mask;   // [length, length]: 0 where a position sees another, else -inf
  Value last;   // [batch]: rows of `flat` that are scored
  Value scale;  // of products of queries and keys
};

Value range(OnnxGraph& graph, const Value& end) {
  return graph.add("Range", {graph.scalar(std::int64_t{0}), end, graph.scalar(std::int64_t{1})});
}

Value gelu(OnnxGraph& graph, const Value& x) {
  const auto erf = graph.add("Erf", {graph.add("Div", {x, graph.scalar(std::sqrt(2.0f))})});
  return graph.add("Mul", {graph.add("Mul", {x, graph.add("Add", {erf, graph.scalar(1.0f)})}), graph.scalar(0.5f)});
}

Value attention(OnnxGraph& graph, const Value& qkv, const Shapes& shapes) {
  const auto parts =
      graph.add("Transpose", {graph.add("Reshape", {qkv, shapes.split})}, {{"perm", Integers{2, 0, 3, 1, 4}}});
  const auto each =
      graph.add("Split", {parts}, 3, {{"axis", std::int64_t{0}}});  // [1, batch, heads, length, dim / heads]
  const auto keys = graph.add("Transpose", {each[1]}, {{"perm", Integers{0, 1, 2, 4, 3}}});
  const auto products = graph.add("Mul", {graph.add("MatMul", {each[0], keys}), shapes.scale});
  const auto shares = graph.add("Softmax", {graph.add("Add", {products, shapes.mask})}, {{"axis", std::int64_t{-1}}});
  const auto mixed =
      graph.add("Transpose", {graph.add("MatMul", {shares, each[2]})}, {{"perm", Integers{0, 1, 3, 2, 4}}});
  return graph.add("Reshape", {mixed, shapes.flat});
}

/// `last`: what follows the attention is for the scored rows only.
Value block(OnnxGraph& graph, const std::string& name, const Value& x, const Shapes& shapes, bool last) {
  const auto chosen = [&](const Value& of) {
    return last ? graph.add("Gather", {of, shapes.last}, {{"axis", std::int64_t{0}}}) : of;
  };
  const auto mixed = attention(graph, graph.linear(name + ".qkv", graph.layer_norm(name + ".norm1", x)), shapes);
  const auto y = graph.add("Add", {chosen(x), graph.linear(name + ".out", chosen(mixed))});
  const auto wide = gelu(graph, graph.linear(name + ".up", graph.layer_norm(name + ".norm2", y)));
  return graph.add("Add", {y, graph.linear(name + ".down", wide)});
}

}  // namespace

OnnxGraph::Value SasRec::encode(OnnxGraph& graph, const Value& items, const Value& lengths) const {
  const auto shape = graph.add("Shape", {items});
  const auto size_of = [&](std::int64_t axis) { return graph.add("Gather", {shape, graph.scalar(axis)}); };
  const auto batch = size_of(0), length = size_of(1);
  const auto positions = range(graph, length);
  const std::int64_t dim = options_.dim, heads = options_.heads;

  Shapes shapes;
  shapes.split = graph.add("Concat", {shape, graph.list({3, heads, dim / heads})}, {{"axis", std::int64_t{0}}});
  shapes.flat = graph.list({-1, dim});
  const auto seen = graph.add("LessOrEqual", {graph.add("Unsqueeze", {positions, graph.list({0})}),
                                              graph.add("Unsqueeze", {positions, graph.list({1})})});
  shapes.mask = graph.add("Where", {seen, graph.scalar(0.0f), graph.scalar(-std::numeric_limits<float>::infinity())});
  const auto first = graph.add("Mul", {range(graph, batch), length});
  shapes.last = graph.add("Sub", {graph.add("Add", {first, lengths}), graph.scalar(std::int64_t{1})});
  const std::int64_t width = dim / heads;
  shapes.scale = graph.scalar(1 / std::sqrt(static_cast<float>(width)));

  const auto vectors = columns_ ? columns_->lookup(graph, items, "item.weight") : graph.rows("item.weight", items);
  const auto embedded = graph.add("Add", {vectors, graph.rows("position.weight", positions)});
  auto x = graph.add("Reshape", {embedded, shapes.flat});
  for (std::int64_t i = 0; i < options_.layers; ++i)
    x = block(graph, "blocks." + std::to_string(i), x, shapes, i + 1 == options_.layers);
  return graph.layer_norm("norm", x);
}

}  // namespace decant::models
