#include "models/sasrec.h"

#include "models/initial.h"
#include "models/ops/attention.h"
#include "models/taps.h"
#include "models/transformer_block.h"

namespace decant::models {

namespace {

constexpr double kDeviation = 0.02;

// Sites of keyed dropout: the sum of the embeddings, then TransformerBlock::kSites for each block.
constexpr std::uint32_t kEmbeddingSite = 1;
constexpr std::uint32_t first_site(std::int64_t block) {
  return kEmbeddingSite + 1 + static_cast<std::uint32_t>(block) * TransformerBlock::kSites;
}

std::string block_tap(std::int64_t block) { return "block." + std::to_string(block); }

}  // namespace

void SasRecOptions::describe(base::Fields& fields) {
  fields.integer("dim", dim, {1, 8192}, "width of item vectors and hidden states");
  fields.integer("layers", layers, {1, 128}, "transformer blocks");
  fields.integer("heads", heads, {1, 1024}, "attention heads; divides dim");
  fields.integer("max_length", max_length, {1, 1 << 20}, "longest window, in items");
  fields.real("dropout", dropout, {0, 0.99}, "of embeddings, attention output and MLP output");
  fields.real("attention_dropout", attention_dropout, {-1, 0.99}, "of attention probabilities; -1: as dropout");
  fields.group("table", table, "item vectors");
  describe_columns(fields);
}

SasRec::SasRec(const SasRecOptions& options, const ModelContext& context) : options_(options) {
  const std::int64_t dim = options_.dim;
  if (options_.heads < 1 || dim % options_.heads != 0) {
    throw base::ConfigError("sasrec: dim " + std::to_string(dim) + " is not a multiple of heads " +
                            std::to_string(options_.heads));
  }
  item_ = register_module("item", make_table(options_.table, dim, context));
  columns_ = make_columns(*this, options_, dim, context);
  const torch::Tensor positions =
      initial_normal({options_.max_length, dim}, kDeviation, context.seed, "position.weight");
  position_ = register_module(
      "position", torch::nn::Embedding(torch::nn::EmbeddingOptions(options_.max_length, dim)._weight(positions)));
  blocks_ = register_module("blocks", torch::nn::ModuleList());
  BlockOptions block{.dim = dim, .heads = options_.heads, .dropout = options_.dropout, .seed = context.seed};
  // Below 0 (-1 in a job file): as `dropout`.
  block.attention_dropout = options_.attention_dropout < 0 ? options_.dropout : options_.attention_dropout;
  for (std::int64_t i = 0; i < options_.layers; ++i) {
    block.first_site = first_site(i);
    blocks_->push_back(std::make_shared<TransformerBlock>(block, "blocks." + std::to_string(i)));
  }
  norm_ = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({dim})));
}

Output SasRec::forward(const Inputs& inputs, const std::set<std::string>& wanted_taps) {
  check_taps("sasrec", wanted_taps, tap_names());
  Output output;
  const auto tap = [&](const std::string& name, const torch::Tensor& value) {
    if (wanted_taps.contains(name)) output.taps.emplace(name, value);
  };
  const torch::Tensor keys = is_training() ? inputs.token_keys : torch::Tensor();
  torch::Tensor x = columns_ ? columns_->lookup(*item_, inputs) : item_->lookup(inputs.items());
  x = x + position_->forward(inputs.positions);
  if (inputs.embedding_shift.defined()) x = x + inputs.embedding_shift;
  x = keyed_dropout(x, keys, kEmbeddingSite, options_.dropout);
  tap("embedding", x);
  // Nothing reads the other tokens after the last attention, unless a tap shows them.
  const std::int64_t last = options_.layers - 1;
  const bool all_tokens = wanted_taps.contains(block_tap(last)) || wanted_taps.contains("hidden");
  for (std::int64_t i = 0; i <= last; ++i) {
    const bool narrow = i == last && !all_tokens;
    x = blocks_->ptr<TransformerBlock>(static_cast<std::size_t>(i))
            ->forward(x, inputs.offsets, keys, narrow ? inputs.score_tokens : torch::Tensor());
    tap(block_tap(i), x);
  }
  x = norm_->forward(x);
  tap("hidden", x);
  output.scores = {all_tokens ? x.index_select(0, inputs.score_tokens) : x, item_.get()};
  return output;
}

void SasRec::prepare_serving() {
  if (columns_) columns_->fold(*item_);
}

NamedTensors SasRec::weights() { return compose_table(SequenceModel::weights(), *item_, options_.table); }

std::vector<std::string> SasRec::tap_names() const {
  std::vector<std::string> names{"embedding"};
  for (std::int64_t i = 0; i < options_.layers; ++i) names.push_back(block_tap(i));
  names.push_back("hidden");
  return names;
}

std::map<std::string, std::string> SasRec::spec() const {
  std::map<std::string, std::string> out{{"model", "sasrec"},
                                         {"items", std::to_string(item_->items())},
                                         {"dim", std::to_string(options_.dim)},
                                         {"layers", std::to_string(options_.layers)},
                                         {"heads", std::to_string(options_.heads)},
                                         {"max_length", std::to_string(options_.max_length)},
                                         {"positions", "start"}};
  if (columns_) out["columns"] = base::join(options_.columns, ",");
  describe_table(*item_, options_.table, out);
  return out;
}

}  // namespace decant::models
