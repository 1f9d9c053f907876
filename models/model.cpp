#include "models/model.h"

#include "models/gru4rec.h"
#include "models/sasrec.h"
#include "models/torch_script.h"

namespace decant::models {

namespace {

std::int64_t count(const torch::nn::Module& module) {
  std::int64_t total = 0;
  for (const torch::Tensor& parameter : module.parameters()) total += parameter.numel();
  return total;
}

}  // namespace

ParameterCount SequenceModel::parameter_count() {
  return {.table = table().values(), .encoder = count(*this) - count(table())};
}

NamedTensors SequenceModel::weights() {
  NamedTensors out;
  for (const auto& item : named_parameters()) out.emplace_back(item.key(), item.value());
  return out;
}

void register_models(ModelRegistry& registry) {
  registry.add<SasRecOptions>("sasrec", [](const SasRecOptions& options, const ModelContext& context) {
    return std::make_shared<SasRec>(options, context);
  });
  registry.add<Gru4RecOptions>("gru4rec", [](const Gru4RecOptions& options, const ModelContext& context) {
    return std::make_shared<Gru4Rec>(options, context);
  });
  registry.add<TorchScriptOptions>("torchscript", [](const TorchScriptOptions& options, const ModelContext& context) {
    return std::make_shared<TorchScript>(options, context);
  });
}

}  // namespace decant::models
