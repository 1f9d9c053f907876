// The catalogue is met in tiles: no rows x items matrix ever lives in memory.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace decant::models {

/// One differentiable walk over the catalogue.
struct WalkRequest {
  /// log-sum-exp of logits / T over the items not excluded, one column a temperature (may be empty).
  std::vector<double> temperatures;
  /// [rows, m] int64 item ids whose logits are wanted; -1: none. The first `excluded` columns of a row are distinct
  /// and left out of the log-sum-exps.
  torch::Tensor ids;
  std::int64_t excluded = 0;
};

struct WalkResult {
  torch::Tensor lse;     // [rows, temperatures] float32; -inf when nothing is left
  torch::Tensor logits;  // [rows, m] float32 raw logits of `ids`; 0 and without gradient at -1
};

/// Of each row's logits over the whole catalogue, differentiable.
struct Moments {
  torch::Tensor mean, variance;  // [rows] float32; the variance is the population's
};

/// Mean and covariance of a catalogue's item vectors, made once for any number of rows.
struct Spread {
  torch::Tensor mean, covariance;  // [dim], [dim, dim] float32
  [[nodiscard]] Moments of(const torch::Tensor& hidden) const;
};

/// The k best items of each row and what remains of its distribution (no gradient).
struct TopKRequest {
  std::int64_t k = 0;
  std::vector<double> temperatures;
  torch::Tensor targets;  // [rows] int64 or undefined
};

struct TopKResult {
  torch::Tensor ids;           // [rows, k] int64, descending by logit, ties lower id first
  torch::Tensor logits;        // [rows, k] float32
  torch::Tensor rest_lse;      // [rows, temperatures] float32, over the complement of `ids`; never by subtraction
  torch::Tensor target_logit;  // [rows] float32; with targets only
  torch::Tensor target_rank;   // [rows] float32: #greater + floor(#equal others / 2)
};

/// Ranks of targets among all items and among the items not listed as seen (no gradient).
struct RankResult {
  torch::Tensor all;     // [rows] int64: #greater + floor(#equal others / 2)
  torch::Tensor unseen;  // [rows] int64: the same without the row's seen items; undefined when none were given
};

/// What scores are made against: a table, a sample of one, or (elsewhere) a table sharded over ranks.
class Catalogue {
 public:
  virtual ~Catalogue() = default;
  [[nodiscard]] virtual std::int64_t items() const = 0;
  /// hidden [rows, dim] float32. Differentiable in hidden and in the table.
  [[nodiscard]] virtual WalkResult walk(const torch::Tensor& hidden, const WalkRequest& request) = 0;
  /// One pass over the table, differentiable.
  [[nodiscard]] virtual Spread spread() = 0;
  /// From the item vectors' spread: no pass over rows x items.
  [[nodiscard]] Moments moments(const torch::Tensor& hidden) { return spread().of(hidden); }
  /// Logits [rows, n] of the same few items ids [n] int64 for every row, differentiable.
  [[nodiscard]] virtual torch::Tensor logits_of(const torch::Tensor& hidden, const torch::Tensor& ids) = 0;
};

/// A catalogue that can be searched whole. A score that is not finite is reported by `check_finite`-style NaN ranks of
/// -1, which the caller turns into an error naming the sample.
class SearchableCatalogue : public Catalogue {
 public:
  [[nodiscard]] virtual TopKResult topk(const torch::Tensor& hidden, const TopKRequest& request) = 0;
  /// seen: host CSR over rows (offsets [rows + 1], ids ascending); empty offsets: no unseen ranks.
  [[nodiscard]] virtual RankResult rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                                           const std::vector<std::int64_t>& seen_offsets,
                                           const std::vector<std::int64_t>& seen_ids) = 0;
};

}  // namespace decant::models
