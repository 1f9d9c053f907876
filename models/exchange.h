// What a table whose rows lie on several ranks asks of them. The trainer implements it over its communicator.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace decant::models {

/// Among the ranks that hold one table together; there may be further such groups, each with a copy of the table. All ranks
/// of a group make the same calls in the same order. Tensors are contiguous, float32 or int64, on the ranks' device.
class Exchange {
 public:
  virtual ~Exchange() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int ranks() const = 0;
  /// Everybody's host values, by rank; as many on every rank. Only from the thread that made the exchange.
  [[nodiscard]] virtual std::vector<std::int64_t> gather_host(const std::vector<std::int64_t>& mine) = 0;
  /// [n, ...], n the same on every rank -> [ranks * n, ...], by rank.
  [[nodiscard]] virtual torch::Tensor all_gather(const torch::Tensor& mine) = 0;
  /// Sum over ranks, added in a fixed order.
  [[nodiscard]] virtual torch::Tensor sum(const torch::Tensor& mine) = 0;
  /// Rows [n, ...], the first in_rows[0] of them for rank 0 and so on -> [m, ...], out_rows[r] of them from rank r.
  [[nodiscard]] virtual torch::Tensor all_to_all(const torch::Tensor& rows, const std::vector<std::int64_t>& in_rows,
                                                 const std::vector<std::int64_t>& out_rows) = 0;
  /// Groups, and the sum of `mine` over the ranks that hold the same rows, in place.
  [[nodiscard]] virtual int copies() const { return 1; }
  virtual void sum_copies(torch::Tensor /*mine*/) {}
};

/// One rank: everything is what it was.
class NoExchange final : public Exchange {
 public:
  int rank() const override { return 0; }
  int ranks() const override { return 1; }
  std::vector<std::int64_t> gather_host(const std::vector<std::int64_t>& mine) override { return mine; }
  torch::Tensor all_gather(const torch::Tensor& mine) override { return mine; }
  torch::Tensor sum(const torch::Tensor& mine) override { return mine; }
  torch::Tensor all_to_all(const torch::Tensor& rows, const std::vector<std::int64_t>&,
                           const std::vector<std::int64_t>&) override {
    return rows;
  }
};

/// How rows are dealt: row i lies on rank i % ranks, there as row i / ranks. Neighbours are apart, so that items that
/// are popular together do not burden one rank.
struct Deal {
  std::int64_t rows = 0;
  int rank = 0, ranks = 1;
  /// Rows of this rank, and of the rank that has most.
  [[nodiscard]] std::int64_t own() const { return (rows - rank + ranks - 1) / ranks; }
  [[nodiscard]] std::int64_t most() const { return (rows + ranks - 1) / ranks; }
  /// Of this rank's row.
  [[nodiscard]] std::int64_t row_of(std::int64_t own_row) const { return own_row * ranks + rank; }
  /// ids int64, -1 for none -> this rank's rows, -1 where the id is another's.
  [[nodiscard]] torch::Tensor own_rows(const torch::Tensor& ids) const;
  /// The other way; -1 stays.
  [[nodiscard]] torch::Tensor ids(const torch::Tensor& own_rows) const;
};

}  // namespace decant::models
