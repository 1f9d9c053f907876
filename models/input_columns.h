// Inputs beside the item: columns of items, users and events, whose vectors are added to the item's (as the item features
// of Hidasi et al. 2016 and of S3-Rec, Zhou et al. 2020; a teacher with columns that its student has not is that of
// privileged features distillation, Xu et al. 2020).
#pragma once

#include <torch/nn/module.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/options.h"
#include "models/inputs.h"
#include "models/model.h"
#include "models/onnx_graph.h"

namespace decant::models {

/// What a model is told of a column that it may take.
struct InputColumn {
  bool number = false;      // else codes in [0, values); 0: there is none, which adds nothing
  std::int64_t values = 0;  // of codes
  std::int64_t width = 1;   // codes of a row, whose vectors are summed
  /// A column of items: [items, width] int64 or [items] float32. Else undefined: Inputs::columns has it, a row a token.
  torch::Tensor of_items = {};
};

/// By full name: "item.brand", "user.age", "event.kind".
using InputColumnMap = std::map<std::string, InputColumn>;

/// Throws ConfigError for what is no name of a column, or one that stands twice.
void check_column_names(const std::vector<std::string>& names);

/// A vector a code, or one that a number scales; code 0, the number 0 (the mean) and a column that the inputs have not add
/// nothing. Parameters: <table>.<column>, [values, dim] or [dim], first values N(0, 0.02), row 0 zero.
class InputColumns : public torch::nn::Module {
 public:
  /// Columns are looked up in context.columns; where that is null (a model that is only looked at) any name will do.
  /// Throws ConfigError naming a column that is not there, and those that are.
  InputColumns(const std::vector<std::string>& names, std::int64_t dim, const ModelContext& context);
  /// Of every token the sum of its item's vector and those of its columns, [tokens, dim].
  [[nodiscard]] torch::Tensor lookup(Table& items, const Inputs& inputs) const;
  /// Adds what the columns of items say to each item's vector once, for serving: lookup() then reads that, the buffer
  /// "item_input" [items, dim]. Nothing without such a column.
  void fold(Table& items);
  /// The same in a graph: items [batch, length] -> [batch, length, dim], of a folded model. Its weights are named
  /// kItemInput (or `table`, the item vectors, where nothing was folded) and "columns.<name>". Columns that are not of
  /// items become inputs of the graph: int64 codes or float32 numbers, of users [batch] or [batch, width], of events
  /// [batch, length] or [batch, length, width].
  [[nodiscard]] OnnxGraph::Value lookup(OnnxGraph& graph, const OnnxGraph::Value& items,
                                        const std::string& table) const;

 private:
  struct Entry {
    std::string name;
    InputColumn column;
    torch::Tensor weight, of_items;
  };
  [[nodiscard]] static torch::Tensor vectors(const Entry& entry, const torch::Tensor& values);
  std::vector<Entry> entries_;
  torch::Tensor folded_;
};

/// Options of models that take columns derive from these, and describe them.
struct ColumnModelOptions : base::Options {
  std::vector<std::string> columns;
  void describe_columns(base::Fields& fields);
};

/// Columns that a model of these options takes.
[[nodiscard]] std::vector<std::string> columns_of(const base::Options* model_options);

/// Null without columns; else registered in `model` as "columns".
[[nodiscard]] std::shared_ptr<InputColumns> make_columns(torch::nn::Module& model, const ColumnModelOptions& options,
                                                         std::int64_t dim, const ModelContext& context);

/// The tensor that an exported model looks its items up in, where columns of items are part of it.
inline constexpr char kItemInput[] = "item.input";
/// Its name among the buffers of a folded model; and what the parameters begin with that it stands for.
inline constexpr char kFoldedBuffer[] = "columns.item_input", kFoldedPrefix[] = "columns.item.";

}  // namespace decant::models
