// What a model is given and what it returns.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace decant::models {

class Catalogue;

/// A packed batch on the model's device. Sequences lie end to end; nothing is padded.
struct Inputs {
  std::map<std::string, torch::Tensor> columns;  // each [tokens] int64; "items" is always there
  std::vector<std::int64_t> offsets;             // [sequences + 1], host
  torch::Tensor positions;                       // [tokens] int64, from the window's start
  torch::Tensor score_tokens;                    // [rows] int64: the tokens whose states are scored
  /// [tokens] int64 in [0, 2^32): keys of (seed, step, sample id, position) for dropout; undefined in evaluation.
  torch::Tensor token_keys;
  /// [tokens, dim] added to the looked-up item vectors; undefined: nothing. For perturbed training.
  torch::Tensor embedding_shift;
  [[nodiscard]] std::int64_t tokens() const { return offsets.empty() ? 0 : offsets.back(); }
  [[nodiscard]] const torch::Tensor& items() const { return columns.at("items"); }
};

/// Scores over a catalogue: logits[r, i] = <hidden[r], table[i]>, met only through the catalogue's operations.
struct CatalogueScores {
  torch::Tensor hidden;            // [rows, dim] float32
  Catalogue* catalogue = nullptr;  // owned by the model
};

struct Output {
  CatalogueScores scores;
  std::map<std::string, torch::Tensor> taps;  // only those asked for
};

}  // namespace decant::models
