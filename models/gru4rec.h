// GRU4Rec (Hidasi, Karatzoglou, Baltrunas, Tikk 2016) with item embeddings and a tied table.
#pragma once

#include <memory>

#include "models/input_columns.h"
#include "models/model.h"
#include "models/onnx_graph.h"
#include "models/table_options.h"
#include "models/transformer_block.h"

namespace decant::models {

struct Gru4RecOptions : ColumnModelOptions {
  std::int64_t dim = 64;
  std::int64_t hidden = 0;  // 0: as dim
  std::int64_t layers = 1;
  std::int64_t max_length = 50;
  double dropout = 0.2;  // of embeddings and of each layer's output
  TableOptions table;
  void describe(base::Fields& fields) override;
};

/// One layer of gated recurrent units (Cho et al. 2014, in the form of PyTorch's nn.GRU: gates r, z, n).
class GruLayer : public torch::nn::Module {
 public:
  /// First values U(-1/sqrt(hidden), 1/sqrt(hidden)), PyTorch's, drawn from (seed, name + ".weight_ih" and so on).
  GruLayer(std::int64_t inputs, std::int64_t hidden, std::uint64_t seed, const std::string& name);
  /// x [tokens, inputs], all first tokens of the sequences, then all second ones, ...; `counts` [steps] int64 on the host: how
  /// many each time, none more than the time before -> [tokens, hidden], in that order. The state begins at 0.
  [[nodiscard]] torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& counts) const;
  torch::Tensor weight_ih, weight_hh, bias_ih, bias_hh;  // [3 hidden, inputs], [3 hidden, hidden], [3 hidden] twice
};

/// Item vectors, `layers` of GRU, and where `hidden` is not `dim` a linear layer back to it. Dropout is keyed by
/// Inputs::token_keys and active in train() only.
/// Taps: "embedding" [tokens, dim], "layer.<i>" (output of layer i) [tokens, hidden], "hidden" (what is scored) [tokens, dim].
/// Parameters are named as in examples/python/gru4rec.py: item.weight (see SasRec for a projected table),
/// layers.<i>.{weight_ih, weight_hh, bias_ih, bias_hh}, out.{weight, bias} (only where hidden is not dim),
/// columns.<table>.<column> (InputColumns).
class Gru4Rec : public SequenceModel, public OnnxEncoder {
 public:
  Gru4Rec(const Gru4RecOptions& options, const ModelContext& context);
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
  Gru4RecOptions options_;
  std::shared_ptr<Table> item_;
  std::shared_ptr<InputColumns> columns_;  // null: none
  std::vector<std::shared_ptr<GruLayer>> layers_;
  std::shared_ptr<Linear> out_;  // null: hidden is dim
};

}  // namespace decant::models
