// A finished model with its matrices as int8 rows: what an int8 export computes.
#pragma once

#include <memory>

#include "models/int8_table.h"
#include "models/model.h"

namespace decant::models {

/// Takes over `model` (on the CPU, on one rank), whose matrices become what int8 rows hold of them; its encoder computes
/// in float32 on those, its catalogue is an Int8Table of its item vectors. Evaluation only.
class Int8Model : public SequenceModel {
 public:
  explicit Int8Model(std::shared_ptr<SequenceModel> model);
  [[nodiscard]] Output forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) override;
  [[nodiscard]] Table& table() override { return *table_; }
  [[nodiscard]] std::int64_t max_length() const override { return model_->max_length(); }
  [[nodiscard]] std::vector<std::string> tap_names() const override { return model_->tap_names(); }
  [[nodiscard]] std::map<std::string, std::string> spec() const override { return model_->spec(); }

 private:
  std::shared_ptr<SequenceModel> model_;
  std::shared_ptr<Int8Table> table_;
};

}  // namespace decant::models
