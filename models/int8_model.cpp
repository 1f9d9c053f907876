#include "models/int8_model.h"

#include <ATen/ops/arange.h>

namespace decant::models {

Int8Model::Int8Model(std::shared_ptr<SequenceModel> model) : model_(register_module("model", std::move(model))) {
  const torch::NoGradGuard no_grad;
  model_->prepare_serving();
  // The item vectors first: of a projected table they are a product, which is what is served.
  auto& table = model_->table();
  table_ = register_module(
      "item", std::make_shared<Int8Table>(to_int8(table.lookup(at::arange(table.items(), torch::kInt64)))));
  for (auto& weight : model_->parameters())
    if (fits_int8(weight)) weight.copy_(from_int8(to_int8(weight)));
  for (auto& buffer : model_->buffers())
    if (buffer.is_floating_point() && fits_int8(buffer)) buffer.copy_(from_int8(to_int8(buffer)));
  model_->eval();
}

Output Int8Model::forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) {
  auto output = model_->forward(inputs, wanted_taps);
  output.scores.catalogue = table_.get();
  return output;
}

}  // namespace decant::models
