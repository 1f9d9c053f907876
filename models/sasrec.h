// SASRec (Kang, McAuley 2018) as a pre-norm causal transformer with a tied table.
#pragma once

#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/normalization.h>

#include "models/input_columns.h"
#include "models/model.h"
#include "models/onnx_graph.h"
#include "models/table_options.h"

namespace decant::models {

struct SasRecOptions : ColumnModelOptions {
  std::int64_t dim = 64;
  std::int64_t layers = 2;
  std::int64_t heads = 2;
  std::int64_t max_length = 50;
  double dropout = 0.2;           // embeddings, attention output and MLP output
  double attention_dropout = -1;  // of attention probabilities; -1: as `dropout`
  TableOptions table;
  void describe(base::Fields& fields) override;
};

/// GELU MLP of 4 dim, final LayerNorm, learned positions from the window's start, no embedding scaling, no score bias,
/// init N(0, 0.02) for tables, PyTorch's default for linear layers (drawn as functions of the seed). Dropout is keyed
/// by Inputs::token_keys and active in train() only.
/// Taps: "embedding", "block.<i>" (output of block i), "hidden" (after the final norm), each [tokens, dim].
/// Parameters are named as in examples/python/sasrec.py: item.weight (and item.projection of a projected table, which is
/// saved composed unless asked otherwise), position.weight, blocks.<i>.{norm1, qkv, out,
/// norm2, up, down}.{weight, bias}, norm.{weight, bias}, columns.<table>.<column> (InputColumns). Throws ConfigError when dim is not a multiple of heads.
class SasRec : public SequenceModel, public OnnxEncoder {
 public:
  SasRec(const SasRecOptions& options, const ModelContext& context);
  [[nodiscard]] Output forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) override;
  [[nodiscard]] Table& table() override { return *item_; }
  [[nodiscard]] std::int64_t max_length() const override { return options_.max_length; }
  [[nodiscard]] std::vector<std::string> tap_names() const override;
  [[nodiscard]] std::map<std::string, std::string> spec() const override;
  void prepare_serving() override;
  [[nodiscard]] NamedTensors weights() override;
  [[nodiscard]] OnnxGraph::Value encode(OnnxGraph& graph, const OnnxGraph::Value& items,
                                        const OnnxGraph::Value& lengths) const override;

 private:
  SasRecOptions options_;
  std::shared_ptr<Table> item_;
  std::shared_ptr<InputColumns> columns_;  // null: none
  torch::nn::Embedding position_{nullptr};
  torch::nn::ModuleList blocks_{nullptr};
  torch::nn::LayerNorm norm_{nullptr};
};

}  // namespace decant::models
