#include "models/onnx_graph.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>

#include "base/errors.h"
#include "models/int8_rows.h"

namespace decant::models {

namespace {

using Type = OnnxGraph::Type;

constexpr std::int64_t kIrVersion = 8, kOpset = 17;

// Numbers of fields and of enumerations in onnx.proto (Apache-2.0, github.com/onnx/onnx).
namespace model {
enum : std::uint32_t { kIr = 1, kProducer = 2, kProducerVersion = 3, kGraph = 7, kOpsetImport = 8 };
}
namespace graph {
enum : std::uint32_t { kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12 };
}
namespace node {
enum : std::uint32_t { kInput = 1, kOutput = 2, kOp = 4, kAttribute = 5 };
}
namespace attribute {
enum : std::uint32_t { kName = 1, kFloat = 2, kInteger = 3, kIntegers = 8, kType = 20 };
enum : std::uint64_t { kIsFloat = 1, kIsInteger = 2, kIsIntegers = 7 };
}  // namespace attribute
namespace tensor {
enum : std::uint32_t { kDims = 1, kType = 2, kName = 8, kRaw = 9, kExternal = 13, kLocation = 14 };
}

/// One protobuf message as it is written.
class Message {
 public:
  Message& number(std::uint32_t field, std::uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }
  Message& real(std::uint32_t field, float value) {
    varint(field << 3 | 5);
    append(std::bit_cast<std::array<char, 4>>(value));
    return *this;
  }
  /// Text, raw bytes or another message.
  Message& text(std::uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 128; value >>= 7) bytes_ += static_cast<char>(value | 128);
    bytes_ += static_cast<char>(value);
  }
  void append(const std::array<char, 4>& raw) { bytes_.append(raw.data(), raw.size()); }
  std::string bytes_;
};

/// Both are little-endian in a file.
static_assert(std::endian::native == std::endian::little);
template <class T>
std::string raw_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string field_of(std::uint32_t field, const Message& message) {
  return Message().text(field, message.bytes()).bytes();
}

/// ValueInfoProto: a name and the type of a tensor.
Message described(const std::string& name, Type type, const OnnxGraph::Dims& dims) {
  Message shape;
  for (const auto& dim : dims) {
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(dim.data(), dim.data() + dim.size(), size);
    const bool fixed = error == std::errc() && end == dim.data() + dim.size();
    shape.text(1, fixed ? Message().number(1, size).bytes() : Message().text(2, dim).bytes());
  }
  const auto held = Message().number(1, static_cast<std::uint64_t>(type)).text(2, shape.bytes());
  return Message().text(1, name).text(2, Message().text(1, held.bytes()).bytes());
}

std::string attribute_of(const std::string& name,
                         const std::variant<std::int64_t, float, std::vector<std::int64_t>>& value) {
  Message out;
  out.text(attribute::kName, name);
  if (const auto* real = std::get_if<float>(&value)) {
    out.real(attribute::kFloat, *real).number(attribute::kType, attribute::kIsFloat);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    out.number(attribute::kInteger, static_cast<std::uint64_t>(*integer));
    out.number(attribute::kType, attribute::kIsInteger);
  } else {
    for (const auto one : std::get<std::vector<std::int64_t>>(value))
      out.number(attribute::kIntegers, static_cast<std::uint64_t>(one));
    out.number(attribute::kType, attribute::kIsIntegers);
  }
  return out.bytes();
}

Type type_of(torch::ScalarType type, const std::string& name) {
  if (type == torch::kFloat) return Type::kFloat;
  if (type == torch::kInt8) return Type::kInt8;
  throw base::FileError(name, "an ONNX graph here reads float32 and int8 tensors only");
}

}  // namespace

OnnxWeights onnx_weights(const std::filesystem::path& path) {
  const WeightsReader reader(path);
  const auto& header = reader.header();
  return {path.filename().string(), sizeof(std::uint64_t) + header.text.size(), header.entries};
}

OnnxGraph::OnnxGraph(std::string name, OnnxWeights weights) : name_(std::move(name)), weights_(std::move(weights)) {}

OnnxGraph::Value OnnxGraph::fresh() { return "v" + std::to_string(values_++); }

OnnxGraph::Value OnnxGraph::input(const std::string& name, Type type, const Dims& dims) {
  inputs_ += field_of(graph::kInput, described(name, type, dims));
  input_names_.push_back(name);
  return name;
}

void OnnxGraph::output(const Value& value, const std::string& name, Type type, const Dims& dims) {
  outputs_ += field_of(graph::kOutput, described(name, type, dims));
  nodes_ +=
      field_of(graph::kNode, Message().text(node::kInput, value).text(node::kOutput, name).text(node::kOp, "Identity"));
}

std::vector<OnnxGraph::Value> OnnxGraph::add(const std::string& op, const std::vector<Value>& inputs,
                                             std::size_t results, const Attributes& attributes) {
  std::vector<Value> out(results);
  Message message;
  for (const auto& value : inputs) message.text(node::kInput, value);
  for (auto& value : out) message.text(node::kOutput, value = fresh());
  message.text(node::kOp, op);
  for (const auto& [name, value] : attributes) message.text(node::kAttribute, attribute_of(name, value));
  nodes_ += field_of(graph::kNode, message);
  return out;
}

OnnxGraph::Value OnnxGraph::add(const std::string& op, const std::vector<Value>& inputs, const Attributes& attributes) {
  return add(op, inputs, 1, attributes).front();
}

OnnxGraph::Value OnnxGraph::cast(const Value& value, Type type) {
  return add("Cast", {value}, {{"to", static_cast<std::int64_t>(type)}});
}

OnnxGraph::Value OnnxGraph::constant(Type type, const std::vector<std::int64_t>& shape, const std::string& raw) {
  auto name = fresh();
  Message message;
  for (const auto size : shape) message.number(tensor::kDims, static_cast<std::uint64_t>(size));
  message.number(tensor::kType, static_cast<std::uint64_t>(type)).text(tensor::kName, name).text(tensor::kRaw, raw);
  initializers_ += field_of(graph::kInitializer, message);
  return name;
}

OnnxGraph::Value OnnxGraph::scalar(float value) { return constant(Type::kFloat, {}, raw_of(std::vector{value})); }
OnnxGraph::Value OnnxGraph::scalar(std::int64_t value) {
  return constant(Type::kInt64, {}, raw_of(std::vector{value}));
}
OnnxGraph::Value OnnxGraph::zero_point(std::uint8_t value) {
  return constant(Type::kUint8, {}, raw_of(std::vector{value}));
}
OnnxGraph::Value OnnxGraph::list(const std::vector<std::int64_t>& values) {
  return constant(Type::kInt64, {std::ssize(values)}, raw_of(values));
}

const WeightsEntry& OnnxGraph::entry(const std::string& name) const {
  const auto at = std::find_if(weights_.entries.begin(), weights_.entries.end(),
                               [&](const WeightsEntry& one) { return one.name == name; });
  if (at == weights_.entries.end()) throw base::FileError(weights_.file, "it has no tensor '" + name + "'");
  return *at;
}

bool OnnxGraph::is_int8(const std::string& name) const { return entry(name).type == torch::kInt8; }

OnnxGraph::Value OnnxGraph::stored(const std::string& name) {
  if (std::find(stored_.begin(), stored_.end(), name) != stored_.end()) return name;
  const auto& found = entry(name);
  Message message;
  for (const auto size : found.shape) message.number(tensor::kDims, static_cast<std::uint64_t>(size));
  message.number(tensor::kType, static_cast<std::uint64_t>(type_of(found.type, name))).text(tensor::kName, name);
  const std::pair<const char*, std::string> places[] = {{"location", weights_.file},
                                                        {"offset", std::to_string(weights_.data_begin + found.begin)},
                                                        {"length", std::to_string(found.end - found.begin)}};
  for (const auto& [key, value] : places)
    message.text(tensor::kExternal, Message().text(1, key).text(2, value).bytes());
  message.number(tensor::kLocation, 1);
  initializers_ += field_of(graph::kInitializer, message);
  stored_.push_back(name);
  return name;
}

// Cast and Mul of constants, unlike DequantizeLinear, are folded when a session is made.
OnnxGraph::Value OnnxGraph::weight(const std::string& name) {
  const auto held = stored(name);
  return is_int8(name) ? add("Mul", {cast(held, Type::kFloat), stored(name + kInt8Scale)}) : held;
}

OnnxGraph::Value OnnxGraph::rows(const std::string& name, const Value& ids) {
  auto found = add("Gather", {stored(name), ids}, {{"axis", std::int64_t{0}}});
  if (!is_int8(name)) return found;
  return add("Mul",
             {cast(found, Type::kFloat), add("Gather", {stored(name + kInt8Scale), ids}, {{"axis", std::int64_t{0}}})});
}

OnnxGraph::Value OnnxGraph::linear(const std::string& name, const Value& x) {
  return add("Gemm", {x, weight(name + ".weight"), weight(name + ".bias")}, {{"transB", std::int64_t{1}}});
}

OnnxGraph::Value OnnxGraph::layer_norm(const std::string& name, const Value& x) {
  return add("LayerNormalization", {x, weight(name + ".weight"), weight(name + ".bias")}, {{"epsilon", 1e-5f}});
}

std::string OnnxGraph::bytes() const {
  const auto whole = nodes_ + Message().text(graph::kName, name_).bytes() + initializers_ + inputs_ + outputs_;
  return Message()
      .number(model::kIr, kIrVersion)
      .text(model::kProducer, "decant")
      .text(model::kProducerVersion, DECANT_VERSION)
      .text(model::kGraph, whole)
      .text(model::kOpsetImport, Message().number(2, kOpset).bytes())
      .bytes();
}

OnnxGraph::Value onnx_scores(OnnxGraph& graph, const std::string& table, const OnnxGraph::Value& hidden) {
  if (!graph.is_int8(table)) return graph.add("Gemm", {hidden, graph.stored(table)}, {{"transB", std::int64_t{1}}});
  // As to_int8 rounds, a scale a row; the operator takes unsigned bytes and what they have too much.
  const auto largest = graph.add("ReduceMax", {graph.add("Abs", {hidden})}, {{"axes", std::vector<std::int64_t>{1}}});
  const auto scale = graph.add("Div", {graph.add("Max", {largest, graph.scalar(1e-30f)}), graph.scalar(127.0f)});
  const auto rounded = graph.add("Round", {graph.add("Div", {hidden, scale})});
  const auto bytes = graph.cast(graph.add("Add", {rounded, graph.scalar(128.0f)}), Type::kUint8);
  const auto columns = graph.add("Transpose", {graph.stored(table)}, {{"perm", std::vector<std::int64_t>{1, 0}}});
  const auto product = graph.add("MatMulInteger", {bytes, columns, graph.zero_point(128)});
  const auto scales = graph.add("Reshape", {graph.stored(table + kInt8Scale), graph.list({1, -1})});
  return graph.add("Mul", {graph.add("Mul", {graph.cast(product, Type::kFloat), scale}), scales});
}

}  // namespace decant::models
