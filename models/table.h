// Tables: where item vectors live. Models are given one and never own a large embedding themselves.
#pragma once

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "models/catalogue.h"

namespace decant::models {

class Table : public torch::nn::Module, public SearchableCatalogue {
 public:
  [[nodiscard]] virtual std::int64_t dim() const = 0;
  /// ids [n] int64 -> [n, dim], differentiable.
  [[nodiscard]] virtual torch::Tensor lookup(const torch::Tensor& ids) = 0;
  [[nodiscard]] torch::Tensor logits_of(const torch::Tensor& hidden, const torch::Tensor& ids) override;
  /// Parameter values of the whole table, on whatever ranks they lie.
  [[nodiscard]] virtual std::int64_t values() const;
  /// Whether its operations are collective: all ranks then make the same calls, ranks without rows with none.
  [[nodiscard]] virtual bool collective() const { return false; }
  /// Of a collective table: a zero that depends on every differentiable operation since it was taken last. What is
  /// differentiated has it added, so that all ranks meet in backward too, in the reverse order of the operations.
  [[nodiscard]] virtual torch::Tensor take_tie() { return {}; }
};

/// Calls see(first, rows) for runs of the rows of LocalTable's first values, in order: the same bits as drawn at once.
void draw_item_rows(std::int64_t items, std::int64_t dim, std::uint64_t seed,
                    const std::function<void(std::int64_t first, const torch::Tensor& rows)>& see);

/// Host CSR rows as [rows, longest] int64 on `device`, -1: none. Empty offsets: undefined.
[[nodiscard]] torch::Tensor padded_rows(const std::vector<std::int64_t>& offsets, const std::vector<std::int64_t>& ids,
                                        torch::Device device);

/// A table whose rows are at hand as one tensor.
class DenseTable : public Table {
 public:
  /// [items, dim] float32, differentiable.
  [[nodiscard]] virtual torch::Tensor rows() = 0;
  [[nodiscard]] WalkResult walk(const torch::Tensor& hidden, const WalkRequest& request) override;
  [[nodiscard]] Spread spread() override;
  [[nodiscard]] TopKResult topk(const torch::Tensor& hidden, const TopKRequest& request) override;
  [[nodiscard]] RankResult rank_of(const torch::Tensor& hidden, const torch::Tensor& targets,
                                   const std::vector<std::int64_t>& seen_offsets,
                                   const std::vector<std::int64_t>& seen_ids) override;
};

/// Every row on this rank; parameter "weight" [items, dim], init N(0, 0.02) drawn from (seed, "item table").
class LocalTable : public DenseTable {
 public:
  LocalTable(std::int64_t items, std::int64_t dim, std::uint64_t seed);
  [[nodiscard]] std::int64_t items() const override;
  [[nodiscard]] std::int64_t dim() const override;
  [[nodiscard]] torch::Tensor lookup(const torch::Tensor& ids) override;
  [[nodiscard]] torch::Tensor rows() override { return weight; }
  torch::Tensor weight;
};

/// A table seen through `negatives` uniformly drawn items (without replacement), one set a step for all rows and ranks,
/// keyed by `key`. The log-sum-exp runs over drawn items that the row does not exclude; with `log_q` it is corrected by
/// log((items - excluded) / drawn), an estimate of the full one; without, it is the plain sampled softmax of Klenitskiy,
/// Vasilev 2023 (gSASRec, SASRec-CE). Logits of `ids` and moments are the table's, exact.
class UniformSample : public Catalogue {
 public:
  UniformSample(Table& table, std::int64_t negatives, bool log_q, std::uint64_t key);
  [[nodiscard]] std::int64_t items() const override;
  [[nodiscard]] WalkResult walk(const torch::Tensor& hidden, const WalkRequest& request) override;
  [[nodiscard]] Spread spread() override { return table_.spread(); }
  [[nodiscard]] torch::Tensor logits_of(const torch::Tensor& hidden, const torch::Tensor& ids) override {
    return table_.logits_of(hidden, ids);
  }

 private:
  Table& table_;
  torch::Tensor drawn_;  // [negatives] int64 ascending, host
  bool log_q_;
};

}  // namespace decant::models
