#include "trainer/next_item.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/logsumexp.h>

#include <algorithm>
#include <set>

#include "base/random.h"
#include "trainer/errors.h"

namespace decant::trainer {
namespace {

constexpr std::uint64_t kNegativesSite = 0x6e656761;

torch::Tensor view_of(const std::vector<std::int64_t>& values) {
  return torch::from_blob(const_cast<std::int64_t*>(values.data()), {static_cast<std::int64_t>(values.size())},
                          torch::kInt64);
}

/// A copy on the device; from pinned memory where that lets the copy run beside the host.
torch::Tensor put(const torch::Tensor& host, torch::Device device) {
  return device.is_cuda() ? host.pin_memory().to(device, /*non_blocking=*/true) : host.clone();
}

torch::Tensor token_keys(const data::PackedBatch& batch, std::uint64_t step_key) {
  auto keys = at::empty({batch.tokens()}, torch::kInt64);
  auto* out = keys.data_ptr<std::int64_t>();
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s)
    for (std::int64_t t = batch.offsets[s], position = 0; t < batch.offsets[s + 1]; ++t, ++position)
      out[t] = static_cast<std::int64_t>(
          base::key_of(step_key, static_cast<std::uint64_t>(batch.sample_ids[s]), position) & 0xffffffffu);
  return keys;
}

/// Temperatures, ids and flags that the losses need together.
struct Union {
  std::set<double> full, rest, label_rest;
  bool labels = false, target = false;
};

Union needs_of(const std::vector<NamedLoss>& losses) {
  Union all;
  for (const auto& named : losses) {
    const auto needs = named.loss->needs();
    all.full.insert(needs.full_lse.begin(), needs.full_lse.end());
    all.rest.insert(needs.rest_lse.begin(), needs.rest_lse.end());
    all.label_rest.insert(needs.label_rest_lse.begin(), needs.label_rest_lse.end());
    all.labels = all.labels || needs.labels;
    all.target = all.target || needs.target_logits;
  }
  return all;
}

TeacherLabels put_labels(const data::TopKLabels& stored, const std::set<double>& temperatures, torch::Device device) {
  const auto targets = static_cast<std::int64_t>(stored.peak.size());
  const auto temps = static_cast<std::int64_t>(stored.temperatures.size());
  auto* half = const_cast<std::uint16_t*>(stored.logits_half.data());
  const auto peak = torch::from_blob(const_cast<float*>(stored.peak.data()), {targets}, torch::kFloat32);
  const auto rest = torch::from_blob(const_cast<float*>(stored.rest_lse.data()), {targets, temps}, torch::kFloat32);
  TeacherLabels labels;
  labels.ids = put(view_of(stored.ids).view({targets, stored.k}), device);
  labels.logits =
      put(torch::from_blob(half, {targets, stored.k}, torch::kFloat16).to(torch::kFloat32) + peak.unsqueeze(1), device);
  for (const double t : temperatures) {
    const auto at = std::find(stored.temperatures.begin(), stored.temperatures.end(), t) - stored.temperatures.begin();
    labels.rest_lse[t] = put(rest.select(1, at) + peak / t, device);
  }
  return labels;
}

}  // namespace

models::Inputs make_inputs(const data::PackedBatch& batch, torch::Device device, std::uint64_t step_key) {
  models::Inputs inputs;
  for (const auto& column : batch.columns) inputs.columns[column.name] = put(view_of(column.values), device);
  inputs.offsets = batch.offsets;
  auto positions = at::empty({batch.tokens()}, torch::kInt64);
  for (std::size_t s = 0; s + 1 < batch.offsets.size(); ++s)
    for (std::int64_t t = batch.offsets[s]; t < batch.offsets[s + 1]; ++t)
      positions.data_ptr<std::int64_t>()[t] = t - batch.offsets[s];
  inputs.positions = put(positions, device);
  inputs.score_tokens = put(view_of(batch.target_tokens), device);
  if (step_key != 0) inputs.token_keys = put(token_keys(batch, step_key), device);
  return inputs;
}

LossInputs score_for_losses(const models::CatalogueScores& scores, const data::LabelledBatch& batch,
                            const std::vector<NamedLoss>& losses, bool sampled) {
  const auto device = scores.hidden.device();
  const Union needs = needs_of(losses);
  const auto& packed = batch.batch;
  LossInputs in;
  in.target_weights =
      put(torch::from_blob(const_cast<float*>(packed.target_weights.data()), {packed.targets()}), device);
  const auto target = put(view_of(packed.target_ids), device).unsqueeze(1);
  models::WalkRequest request;
  std::set<double> temperatures = needs.full;
  if (needs.labels) {
    in.teacher = put_labels(*batch.labels, needs.label_rest, device);
    request.ids = at::cat({in.teacher.ids, target}, 1);
    request.excluded = in.teacher.ids.size(1);
    temperatures.insert(needs.rest.begin(), needs.rest.end());
  } else {
    request.ids = target;
    request.excluded = sampled ? 1 : 0;  // a sample may miss the target: it is left out and put back exactly
  }
  request.temperatures.assign(temperatures.begin(), temperatures.end());
  const auto walked = scores.catalogue->walk(scores.hidden, request);
  const std::int64_t k = request.ids.size(1) - 1;
  if (needs.labels) in.student.label_logits = walked.logits.narrow(1, 0, k);
  if (needs.target) in.student.target_logits = walked.logits.select(1, k);
  for (std::size_t t = 0; t < request.temperatures.size(); ++t) {
    const double temperature = request.temperatures[t];
    const auto rest = walked.lse.select(1, static_cast<std::int64_t>(t));
    if (needs.rest.contains(temperature)) in.student.rest_lse[temperature] = rest;
    if (!needs.full.contains(temperature)) continue;
    in.student.full_lse[temperature] =
        request.excluded == 0
            ? rest
            : at::logsumexp(walked.logits.narrow(1, 0, request.excluded) / temperature, 1).logaddexp(rest);
  }
  return in;
}

NextItem::NextItem(std::shared_ptr<models::SequenceModel> model, std::vector<NamedLoss> losses,
                   const data::Dataset& dataset, const SoftmaxOptions& softmax, Context& context)
    : model_(std::move(model)), losses_(std::move(losses)), dataset_(dataset), softmax_(softmax), context_(context) {
  for (const auto& named : losses_) named.loss->to(context.communicator.device());
}

models::NamedTensors NextItem::weights() {
  models::NamedTensors out;
  for (const auto& item : model_->named_parameters()) out.emplace_back(item.key(), item.value());
  return out;
}

models::NamedTensors NextItem::parameters() {
  auto out = weights();
  for (const auto& named : losses_)
    for (const auto& item : named.loss->named_parameters())
      out.emplace_back("loss." + named.name + "." + item.key(), item.value());
  return out;
}

void NextItem::train(bool on) {
  model_->train(on);
  for (const auto& named : losses_) named.loss->train(on);
}

std::vector<torch::Tensor> NextItem::loss_sums(const data::LabelledBatch& batch, std::uint64_t step_key) {
  auto output = model_->forward(make_inputs(batch.batch, context_.communicator.device(), step_key));
  const bool sampled = softmax_.kind == "sampled";
  std::unique_ptr<models::UniformSample> sample;
  if (sampled) {
    sample = std::make_unique<models::UniformSample>(model_->table(), softmax_.negatives, softmax_.log_q,
                                                     base::key_of(step_key, kNegativesSite));
    output.scores.catalogue = sample.get();
  }
  const auto inputs = score_for_losses(output.scores, batch, losses_, sampled);
  std::vector<torch::Tensor> sums;
  for (const auto& named : losses_) sums.push_back(named.loss->sum(inputs));
  return sums;
}

MetricMap NextItem::validate() {
  return evaluate_model(*model_, dataset_, data::Split::kValid, false, context_).all.metrics();
}

}  // namespace decant::trainer
