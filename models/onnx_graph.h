// ONNX graphs, written by hand: no library is needed to make one. Their weights stay in the safetensors file beside them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "models/weights_header.h"

namespace decant::models {

/// A safetensors file that graphs in its folder read their weights from.
struct OnnxWeights {
  std::string file;              // its name
  std::uint64_t data_begin = 0;  // of the first tensor's bytes
  std::vector<WeightsEntry> entries;
};

/// Of a file that was written. Throws FileError.
[[nodiscard]] OnnxWeights onnx_weights(const std::filesystem::path& path);

/// A graph as it is built: IR version 8, operator set 17 (ONNX 1.12). Values are named as they come; a weight that the
/// file holds as int8 rows with scales (models/int8_rows.h) is decoded where it is read.
class OnnxGraph {
 public:
  using Value = std::string;
  using Dims = std::vector<std::string>;  // of an input or output: numbers, or names of what varies
  using Attributes = std::vector<std::pair<std::string, std::variant<std::int64_t, float, std::vector<std::int64_t>>>>;
  enum class Type { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7 };

  OnnxGraph(std::string name, OnnxWeights weights);

  [[nodiscard]] Value input(const std::string& name, Type type, const Dims& dims);
  /// Names of the inputs so far.
  [[nodiscard]] const std::vector<std::string>& inputs() const { return input_names_; }
  void output(const Value& value, const std::string& name, Type type, const Dims& dims);
  /// A node of one result.
  [[nodiscard]] Value add(const std::string& op, const std::vector<Value>& inputs, const Attributes& attributes = {});
  [[nodiscard]] std::vector<Value> add(const std::string& op, const std::vector<Value>& inputs, std::size_t results,
                                       const Attributes& attributes);
  [[nodiscard]] Value cast(const Value& value, Type type);
  [[nodiscard]] Value scalar(float value);
  [[nodiscard]] Value scalar(std::int64_t value);
  [[nodiscard]] Value list(const std::vector<std::int64_t>& values);
  [[nodiscard]] Value zero_point(std::uint8_t value);

  /// A tensor of the file as it lies there. Throws FileError for a name that it has not.
  [[nodiscard]] Value stored(const std::string& name);
  [[nodiscard]] bool is_int8(const std::string& name) const;
  /// A weight in float32, whole.
  [[nodiscard]] Value weight(const std::string& name);
  /// Rows of a matrix in float32: ids of any shape -> that shape and the columns.
  [[nodiscard]] Value rows(const std::string& name, const Value& ids);
  /// x [n, inputs] -> [n, outputs], by <name>.weight and <name>.bias.
  [[nodiscard]] Value linear(const std::string& name, const Value& x);
  /// Over the last axis, by <name>.weight and <name>.bias.
  [[nodiscard]] Value layer_norm(const std::string& name, const Value& x);

  [[nodiscard]] std::string bytes() const;

 private:
  [[nodiscard]] const WeightsEntry& entry(const std::string& name) const;
  [[nodiscard]] Value fresh();
  [[nodiscard]] Value constant(Type type, const std::vector<std::int64_t>& shape, const std::string& raw);

  std::string name_;
  OnnxWeights weights_;
  std::string inputs_, outputs_, nodes_, initializers_;  // encoded fields of the graph
  std::vector<std::string> stored_, input_names_;
  std::int64_t values_ = 0;
};

/// A model that can say its encoder as a graph: another base of a SequenceModel.
class OnnxEncoder {
 public:
  virtual ~OnnxEncoder() = default;
  /// items [batch, length] int64, filled up on the right with any item; lengths [batch] int64, of the histories -> the
  /// scored state of each history's last item, [batch, dim].
  [[nodiscard]] virtual OnnxGraph::Value encode(OnnxGraph& graph, const OnnxGraph::Value& items,
                                                const OnnxGraph::Value& lengths) const = 0;
};

/// hidden [batch, dim] -> scores [batch, items] by the item vectors in tensor `table`. Where those are int8 rows the
/// product is one of integers, as Int8Table's.
[[nodiscard]] OnnxGraph::Value onnx_scores(OnnxGraph& graph, const std::string& table, const OnnxGraph::Value& hidden);

}  // namespace decant::models
