#include "models/gru4rec.h"

#include <ATen/ops/gru.h>
#include <torch/nn/modules/container/modulelist.h>

#include <cmath>
#include <numeric>

#include "models/initial.h"
#include "models/ops/keyed.h"
#include "models/taps.h"

namespace decant::models {

namespace {

// Sites of keyed dropout: the embeddings, then a site a layer.
constexpr std::uint32_t kEmbeddingSite = 1;

std::string layer_tap(std::int64_t layer) { return "layer." + std::to_string(layer); }

/// A packed batch by time: the longest sequence first, so that those that go on are always the first ones.
struct ByTime {
  torch::Tensor tokens;  // [tokens] int64: which token stands at each place
  torch::Tensor places;  // [tokens] int64: at which place each token stands
  torch::Tensor counts;  // [steps] int64, host: sequences that have a token at that time
};

ByTime by_time(const Inputs& inputs) {
  const auto& offsets = inputs.offsets;
  const std::size_t sequences = offsets.empty() ? 0 : offsets.size() - 1;
  const auto length = [&](std::size_t s) { return offsets[s + 1] - offsets[s]; };
  std::vector<std::size_t> order(sequences);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return length(a) > length(b); });
  const auto places = torch::empty({inputs.tokens()}, torch::kLong), tokens = torch::empty_like(places);
  auto *place = places.data_ptr<std::int64_t>(), *token = tokens.data_ptr<std::int64_t>();
  std::vector<std::int64_t> counts;
  std::size_t going = sequences;
  std::int64_t next = 0;
  for (std::int64_t time = 0; next < inputs.tokens(); ++time) {
    while (length(order[going - 1]) <= time) --going;
    for (std::size_t s = 0; s < going; ++s) {
      const std::int64_t at = offsets[order[s]] + time;
      token[next] = at;
      place[at] = next++;
    }
    counts.push_back(static_cast<std::int64_t>(going));
  }
  const auto device = inputs.items().device();
  return {tokens.to(device), places.to(device), torch::tensor(counts, torch::kLong)};
}

}  // namespace

void Gru4RecOptions::describe(base::Fields& fields) {
  fields.integer("dim", dim, {1, 8192}, "width of item vectors");
  fields.integer("hidden", hidden, {0, 8192}, "width of the recurrent state; 0: as dim");
  fields.integer("layers", layers, {1, 128}, "recurrent layers");
  fields.integer("max_length", max_length, {1, 1 << 20}, "longest window, in items");
  fields.real("dropout", dropout, {0, 0.99}, "of embeddings and of each layer's output");
  fields.group("table", table, "item vectors");
  describe_columns(fields);
}

GruLayer::GruLayer(std::int64_t inputs, std::int64_t hidden, std::uint64_t seed, const std::string& name) {
  const double bound = 1 / std::sqrt(static_cast<double>(hidden));
  const auto make = [&](const std::string& own, at::IntArrayRef shape) {
    return register_parameter(own, initial_uniform(shape, bound, seed, name + "." + own));
  };
  weight_ih = make("weight_ih", {3 * hidden, inputs});
  weight_hh = make("weight_hh", {3 * hidden, hidden});
  bias_ih = make("bias_ih", {3 * hidden});
  bias_hh = make("bias_hh", {3 * hidden});
}

torch::Tensor GruLayer::forward(const torch::Tensor& x, const torch::Tensor& counts) const {
  const std::int64_t hidden = weight_hh.size(1);
  if (x.size(0) == 0) return torch::linear(x, weight_ih, bias_ih).narrow(1, 0, hidden);
  const auto begin = torch::zeros({1, counts[0].item<std::int64_t>(), hidden}, x.options());
  const bool biases = true, train = torch::GradMode::is_enabled(), bidirectional = false;
  return std::get<0>(at::gru(x, counts, begin, {weight_ih, weight_hh, bias_ih, bias_hh}, biases, /*num_layers=*/1,
                             /*dropout=*/0, train, bidirectional));
}

Gru4Rec::Gru4Rec(const Gru4RecOptions& options, const ModelContext& context) : options_(options) {
  if (options_.hidden == 0) options_.hidden = options_.dim;
  item_ = register_module("item", make_table(options_.table, options_.dim, context));
  columns_ = make_columns(*this, options_, options_.dim, context);
  auto layers = register_module("layers", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    layers_.push_back(std::make_shared<GruLayer>(i == 0 ? options_.dim : options_.hidden, options_.hidden, context.seed,
                                                 "layers." + std::to_string(i)));
    layers->push_back(layers_.back());
  }
  if (options_.hidden != options_.dim)
    out_ = register_module("out", std::make_shared<Linear>(options_.hidden, options_.dim, context.seed, "out"));
}

Output Gru4Rec::forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) {
  check_taps("gru4rec", wanted_taps, tap_names());
  Output output;
  const auto order = by_time(inputs);
  const bool drops = is_training() && inputs.token_keys.defined();
  const auto keys = drops ? inputs.token_keys.index_select(0, order.tokens) : torch::Tensor();
  const auto tap = [&](const std::string& name, const torch::Tensor& by_place) {
    if (wanted_taps.contains(name)) output.taps.emplace(name, by_place.index_select(0, order.places));
  };
  auto x = columns_ ? columns_->lookup(*item_, inputs) : item_->lookup(inputs.items());
  if (inputs.embedding_shift.defined()) x = x + inputs.embedding_shift;
  x = keyed_dropout(x.index_select(0, order.tokens), keys, kEmbeddingSite, options_.dropout);
  tap("embedding", x);
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    x = layers_[static_cast<std::size_t>(i)]->forward(x, order.counts);
    x = keyed_dropout(x, keys, kEmbeddingSite + 1 + static_cast<std::uint32_t>(i), options_.dropout);
    tap(layer_tap(i), x);
  }
  const auto scored = [&](const torch::Tensor& states) { return out_ ? out_->forward(states) : states; };
  if (wanted_taps.contains("hidden")) tap("hidden", scored(x));
  output.scores = {scored(x.index_select(0, order.places.index_select(0, inputs.score_tokens))), item_.get()};
  return output;
}

void Gru4Rec::prepare_serving() {
  if (columns_) columns_->fold(*item_);
}

NamedTensors Gru4Rec::weights() { return compose_table(SequenceModel::weights(), *item_, options_.table); }

std::vector<std::string> Gru4Rec::tap_names() const {
  std::vector<std::string> names{"embedding"};
  for (std::int64_t i = 0; i < options_.layers; ++i) names.push_back(layer_tap(i));
  names.push_back("hidden");
  return names;
}

std::map<std::string, std::string> Gru4Rec::spec() const {
  std::map<std::string, std::string> out{{"model", "gru4rec"},
                                         {"items", std::to_string(item_->items())},
                                         {"dim", std::to_string(options_.dim)},
                                         {"hidden", std::to_string(options_.hidden)},
                                         {"layers", std::to_string(options_.layers)},
                                         {"max_length", std::to_string(options_.max_length)}};
  if (columns_) out["columns"] = base::join(options_.columns, ",");
  describe_table(*item_, options_.table, out);
  return out;
}

}  // namespace decant::models
