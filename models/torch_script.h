// A TorchScript file as a teacher: any PyTorch model that can say its hidden states and its item vectors.
#pragma once

#include "models/model.h"
#include "models/ready_model.h"

namespace decant::models {

struct TorchScriptOptions : ReadyModelOptions {
  std::int64_t max_length = 50;
  void describe(base::Fields& fields) override;
};

/// The script has forward(items [batch, length] int64, padded on the right with 0; lengths [batch] int64) -> hidden
/// [batch, length, d], and the method item_table() or the tensor `item_table` [items, d]; both floats, items numbered
/// from 0 as in the dataset, the logit of an item its product with the hidden row. Eval mode, fp32, no gradient.
/// Tap: "hidden". Parameters: item.weight, and the script's own below "encoder". Throws ConfigError naming the file when
/// it cannot be read, lacks one of the two, gives other shapes, numbers that are not finite or states that depend on
/// later items. The number of items is not checked when ModelContext::items is 1 (a model that is only looked at).
class TorchScript : public SequenceModel {
 public:
  TorchScript(const TorchScriptOptions& options, const ModelContext& context);
  ~TorchScript() override;
  [[nodiscard]] Output forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) override;
  [[nodiscard]] Table& table() override;
  [[nodiscard]] std::int64_t max_length() const override { return max_length_; }
  [[nodiscard]] std::vector<std::string> tap_names() const override { return {"hidden"}; }
  [[nodiscard]] std::map<std::string, std::string> spec() const override;
  using SequenceModel::to;
  void to(torch::Device device, bool non_blocking = false) override;

 private:
  struct Script;
  [[nodiscard]] torch::Tensor states(const torch::Tensor& items, const torch::Tensor& lengths);
  void check_states(std::int64_t items);

  std::int64_t max_length_;
  std::unique_ptr<Script> script_;
  std::shared_ptr<Table> item_;
};

}  // namespace decant::models
