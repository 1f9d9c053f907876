#include "trainer/next_item.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/autograd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/random.h"
#include "trainer/augment.h"
#include "trainer/scoring.h"

namespace decant::trainer {
namespace {

constexpr std::uint64_t kNegativesSite = 0x6e656761;

torch::Tensor token_keys(const data::PackedBatch& batch, std::uint64_t step_key) {
  auto keys = at::empty({batch.tokens()}, torch::kInt64);
  auto* out = keys.data_ptr<std::int64_t>();
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s)
    for (std::int64_t t = batch.offsets[s], position = 0; t < batch.offsets[s + 1]; ++t, ++position)
      out[t] = static_cast<std::int64_t>(
          base::key_of(step_key, static_cast<std::uint64_t>(batch.sample_ids[s]), position) & 0xffffffffu);
  return keys;
}

/// What the model must publish; "hidden" it returns anyway.
std::set<std::string> taps_of(const std::vector<NamedLoss>& losses) {
  std::set<std::string> taps;
  for (const auto& named : losses)
    for (const auto& tap : named.loss->needs().taps)
      if (tap != "hidden") taps.insert(tap);
  return taps;
}

/// By the model's output for one item.
std::map<std::string, std::int64_t> tap_widths(models::SequenceModel& model, const std::set<std::string>& taps,
                                               torch::Device device) {
  const torch::NoGradGuard no_grad;
  data::PackedBatch one;
  one.sample_ids = {0}, one.offsets = {0, 1}, one.window_starts = {0};
  one.columns = {{"items", {0}}};
  one.target_tokens = {0};
  const auto output = model.forward(make_inputs(one, device, 0), taps);
  std::map<std::string, std::int64_t> widths{{"hidden", output.scores.hidden.size(1)}};
  for (const auto& [name, value] : output.taps) widths[name] = value.size(1);
  return widths;
}

/// The gradient of each row's vectors, made `length` long over the row. A row's depends on that row alone, and no factor
/// of the loss survives: the shift is the same at any number of ranks.
torch::Tensor scaled_by_row(const torch::Tensor& gradient, const std::vector<std::int64_t>& offsets, double length) {
  auto out = at::zeros_like(gradient);
  for (std::size_t s = 0; s + 1 < offsets.size(); ++s) {
    const auto row = gradient.narrow(0, offsets[s], offsets[s + 1] - offsets[s]);
    out.narrow(0, offsets[s], row.size(0)).copy_(row * (length / row.norm().clamp_min(1e-30)));
  }
  return out;
}

/// A loss of batch scope is differentiated at once, so that its collectives come before any of the reducer's and in one
/// order on every rank. What is returned has its value, and its gradient as a constant.
torch::Tensor sum_at_once(Loss& loss, LossInputs in) {
  std::vector<torch::Tensor> sources, leaves;
  const auto cut = [&](torch::Tensor& tensor) {
    if (!tensor.defined()) return;  // also what needs no gradient here: every rank takes part in backward
    sources.push_back(tensor);
    tensor = tensor.detach().requires_grad_();
    leaves.push_back(tensor);
  };
  for (auto* tensor : {&in.student.target_logits, &in.student.label_logits, &in.student.logit_mean,
                       &in.student.logit_variance, &in.student.drawn_logits})
    cut(*tensor);
  for (auto* map : {&in.student.full_lse, &in.student.rest_lse, &in.student.outside_lse})
    for (auto& [t, tensor] : *map) cut(tensor);
  for (auto& [name, tensor] : in.taps) cut(tensor);
  for (const auto& parameter : loss.parameters())
    if (parameter.requires_grad()) sources.push_back(parameter), leaves.push_back(parameter);
  const auto value = loss.sum(in);
  const auto grads = torch::autograd::grad({value}, leaves, {}, false, false, /*allow_unused=*/true);
  auto carried = at::zeros({}, value.options().requires_grad(false));
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (grads[i].defined()) carried = carried + (sources[i] * grads[i]).sum();
  return value.detach() + (carried - carried.detach());
}

torch::Tensor tensor_of(const data::RaggedColumn& column, std::int64_t tokens) {
  if (column.values.empty() && !column.numbers.empty()) {
    auto numbers = at::empty({tokens}, torch::kFloat32);
    std::copy(column.numbers.begin(), column.numbers.end(), numbers.data_ptr<float>());
    return numbers;
  }
  const auto codes = view_of(column.values);
  return column.width == 1 ? codes : codes.view({tokens, column.width});
}

}  // namespace

models::Inputs make_inputs(const data::PackedBatch& batch, torch::Device device, std::uint64_t step_key) {
  models::Inputs inputs;
  for (const auto& column : batch.columns) inputs.columns[column.name] = put(tensor_of(column, batch.tokens()), device);
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

NextItem::NextItem(std::shared_ptr<models::SequenceModel> model, std::vector<NamedLoss> losses,
                   const data::Dataset& dataset, const SoftmaxOptions& softmax, Context& context, const RunFacts& facts)
    : model_(std::move(model)),
      losses_(std::move(losses)),
      dataset_(dataset),
      softmax_(softmax),
      context_(context),
      rows_(context.communicator),
      facts_(facts) {
  const auto device = context.communicator.device();
  known_ = {dataset.info().items, dataset.info().rows, facts.seed,     tap_widths(*model_, taps_of(losses_), device),
            facts.vector_widths,  context.rank(),      context.world()};
  for (auto& named : losses_) {
    if (named.sets.empty() && named.loss->needs().labels) named.sets = {"teacher"};
    named.loss->prepare(known_);
    named.loss->to(device);
    if (!named.sharing) continue;
    named.sharing->prepare(known_);
    named.sharing->to(device);
  }
}

models::NamedTensors NextItem::weights() { return model_->weights(); }

models::NamedTensors NextItem::parameters() {
  models::NamedTensors out;
  for (const auto& item : model_->named_parameters()) out.emplace_back(item.key(), item.value());
  for (const auto& named : losses_) {
    for (const auto& item : named.loss->named_parameters())
      out.emplace_back("loss." + named.name + "." + item.key(), item.value());
    if (!named.sharing) continue;
    for (const auto& item : named.sharing->named_parameters())
      out.emplace_back("loss." + named.name + "." + item.key(), item.value());
  }
  return out;
}

bool NextItem::collective() { return model_->table().collective() || (facts_.online && facts_.online->collective()); }

void NextItem::train(bool on) {
  model_->train(on);
  for (const auto& named : losses_) named.loss->train(on);
}

void NextItem::augment(data::LabelledBatch& batch, std::uint64_t step_key) {
  if (facts_.augment.on()) batch.batch = trainer::augment(batch.batch, facts_.augment, step_key);
}

LabelSets NextItem::stored_labels(const data::LabelledBatch& batch, const std::set<double>& more) {
  return decode_labels(batch, losses_, context_.communicator.device(), more);
}

LabelSets NextItem::labels_of(const data::LabelledBatch& batch, const models::Inputs& inputs) {
  const auto device = context_.communicator.device();
  const auto& screening = facts_.screening;
  OnlineNeeds needs;
  if (screening.by_probability()) needs.temperatures.insert(1.0);
  auto labels = stored_labels(batch, needs.temperatures);
  const auto targets = put(view_of(batch.batch.target_ids), device);
  for (const auto& named : losses_) {
    if (std::find(named.sets.begin(), named.sets.end(), kOnlineSet) == named.sets.end()) continue;
    const auto of_loss = named.loss->needs();
    needs.temperatures.insert(of_loss.label_rest_lse.begin(), of_loss.label_rest_lse.end());
    needs.moments = needs.moments || of_loss.label_moments;
    if (named.sharing)
      for (const double t : named.sharing->label_rest_lse()) needs.temperatures.insert(t);
    needs.asked = true;
  }
  if (needs.asked) labels[kOnlineSet] = facts_.online->labels(inputs, targets, needs);
  if (screening.on())
    for (auto& [set, label] : labels) label.trust = trust_in(label, targets, screening, screened_);
  return labels;
}

std::vector<torch::Tensor> NextItem::pass(const models::Inputs& inputs, const data::LabelledBatch& batch,
                                          const LabelSets& labels, std::uint64_t step_key) {
  static_cast<void>(model_->table().take_tie());
  auto output = model_->forward(inputs, taps_of(losses_));
  const bool sampled = softmax_.kind == "sampled";
  std::unique_ptr<models::UniformSample> sample;
  if (sampled) {
    sample = std::make_unique<models::UniformSample>(model_->table(), softmax_.negatives, softmax_.log_q,
                                                     base::key_of(step_key, kNegativesSite));
    output.scores.catalogue = sample.get();
  }
  const Scoring scoring(output, batch.batch, labels, losses_, {sampled, step_key, &rows_});
  std::vector<torch::Tensor> sums;
  for (const auto& named : losses_) {
    auto sum = sum_of(named, [&](const std::string& set) { return scoring.inputs(named, set); });
    const auto gate = scoring.gate_objective(named);  // it teaches the gate, and is not part of what is shown
    sums.push_back(gate.defined() ? sum + (gate - gate.detach()) : sum);
  }
  if (const auto tie = model_->table().take_tie(); tie.defined()) sums.front() = sums.front() + tie;
  return sums;
}

std::vector<torch::Tensor> NextItem::loss_sums(const data::LabelledBatch& batch, std::uint64_t step_key) {
  auto inputs = make_inputs(batch.batch, context_.communicator.device(), step_key);
  const auto labels = labels_of(batch, inputs);
  if (!facts_.perturbation.on()) return pass(inputs, batch, labels, step_key);
  auto shift = at::zeros({inputs.tokens(), model_->table().dim()}, torch::TensorOptions(inputs.positions.device()));
  inputs.embedding_shift = shift.requires_grad_();
  auto sums = pass(inputs, batch, labels, step_key);
  torch::Tensor total;
  for (std::size_t l = 0; l < sums.size(); ++l) {
    const auto part = sums[l] * losses_[l].multiplier();
    total = total.defined() ? total + part : part;
  }
  const auto gradient = torch::autograd::grad({total}, {inputs.embedding_shift}, {}, /*retain_graph=*/true,
                                              /*create_graph=*/false, /*allow_unused=*/true)[0];
  if (!gradient.defined())
    throw base::ConfigError("'student.perturbation': the model does not add Inputs::embedding_shift");
  inputs.embedding_shift = scaled_by_row(gradient, inputs.offsets, facts_.perturbation.epsilon);
  const auto moved = pass(inputs, batch, labels, step_key);
  for (std::size_t l = 0; l < sums.size(); ++l) sums[l] = sums[l] + moved[l] * facts_.perturbation.weight;
  return sums;
}

std::vector<Counted> NextItem::take_counts() {
  if (!facts_.screening.on()) return {};
  const auto counts = std::exchange(screened_, {});
  return {
      {"labels", counts.labels}, {"contradicting", counts.contradicting}, {"over_confident", counts.over_confident}};
}

torch::Tensor NextItem::sum_of(const NamedLoss& named,
                               const std::function<LossInputs(const std::string& set)>& inputs) {
  const bool at_once = named.loss->needs().scope == Scope::kBatch;
  const auto sum = [&](const std::string& set) {
    return at_once ? sum_at_once(*named.loss, inputs(set)) : named.loss->sum(inputs(set));
  };
  if (named.sets.empty()) return sum("");
  torch::Tensor total;
  for (const auto& set : named.sets) total = total.defined() ? total + sum(set) : sum(set);
  return total;
}

void NextItem::begin_step(std::int64_t step) {
  for (auto& named : losses_) {
    named.factor = named.schedule.at(named.start, step);
    named.loss->begin_step(step);
  }
}

void NextItem::set_scales(const std::vector<double>& scales) {
  for (std::size_t l = 0; l < losses_.size(); ++l) losses_[l].scale = scales[l];
}

double NextItem::loss_weight(std::size_t loss, const data::LabelledBatch& batch) {
  const auto& named = losses_[loss];
  std::vector<const data::LabelRows*> sets;
  for (const auto& set : named.sets) {
    const auto at = batch.labels.find(set);
    if (at == batch.labels.end() || at->second.present.empty()) return named.loss->weight(batch);  // has every target
    sets.push_back(&at->second);
  }
  if (sets.empty()) return named.loss->weight(batch);
  data::LabelledBatch seen{batch.batch, {}};
  for (std::size_t t = 0; t < seen.batch.target_weights.size(); ++t)
    if (std::all_of(sets.begin(), sets.end(), [&](const auto* rows) { return rows->present[t] == 0; }))
      seen.batch.target_weights[t] = 0;  // no label of it: it is not in the sum either
  return named.loss->weight(seen);
}

void NextItem::join(std::uint64_t step_key) {
  for (const auto& named : losses_)
    if (named.loss->needs().scope == Scope::kBatch)
      static_cast<void>(sum_of(named, [&](const std::string& set) { return nothing(*named.loss, set, step_key); }));
}

LossInputs NextItem::nothing(const Loss& loss, const std::string& set, std::uint64_t step_key) {
  const auto floats = torch::TensorOptions(context_.communicator.device()).dtype(torch::kFloat32);
  LossInputs in;
  in.target_weights = at::zeros({0}, floats);
  in.target_ids = in.sample_ids = at::zeros({0}, floats.dtype(torch::kInt64));
  in.is_last = at::zeros({0}, floats.dtype(torch::kBool));
  for (const auto& tap : loss.needs().taps)
    in.taps[tap] = at::zeros({0, known_.tap_widths.at(tap)}, floats).requires_grad_();
  if (!set.empty()) in.teacher.vectors = at::zeros({0, known_.vector_widths.at(set)}, floats);
  in.set = set, in.step_key = step_key, in.rows = &rows_;
  return in;
}

void NextItem::end_step() {
  for (auto& named : losses_) named.loss->end_step();
}

models::NamedTensors NextItem::state() {
  models::NamedTensors out;
  for (const auto& named : losses_)
    for (auto& [name, tensor] : named.loss->state(context_.communicator))
      out.emplace_back("loss." + named.name + "." + name, tensor);
  return out;
}

void NextItem::restore(const models::NamedTensors& state) {
  auto next = state.begin();
  for (auto& named : losses_) {
    const std::string prefix = "loss." + named.name + ".";
    models::NamedTensors own;
    for (; next != state.end() && next->first.starts_with(prefix); ++next)
      own.emplace_back(next->first.substr(prefix.size()), next->second);
    named.loss->restore(own);
  }
}

MetricMap NextItem::validate() {
  return evaluate_model(*model_, dataset_, data::Split::kValid, false, context_).all.metrics();
}

}  // namespace decant::trainer
