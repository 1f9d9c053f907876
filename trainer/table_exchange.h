// The exchange of a sharded table over a communicator.
#pragma once

#include <memory>

#include "dist/communicator.h"
#include "models/exchange.h"

namespace decant::trainer {

/// REQUIRES: the communicator outlives it. Tensors travel by the communicator's backend, host values by its control path.
class TableExchange final : public models::Exchange {
 public:
  /// Among all ranks.
  explicit TableExchange(dist::Communicator& communicator) : communicator_(communicator) {}
  /// A mesh of data and catalogue: groups of `shards` neighbouring ranks. Collective. REQUIRES: `shards` divides the ranks.
  TableExchange(dist::Communicator& communicator, int shards);
  int rank() const override { return communicator_.rank(); }
  int ranks() const override { return communicator_.size(); }
  std::vector<std::int64_t> gather_host(const std::vector<std::int64_t>& mine) override;
  torch::Tensor all_gather(const torch::Tensor& mine) override;
  torch::Tensor sum(const torch::Tensor& mine) override;
  torch::Tensor all_to_all(const torch::Tensor& rows, const std::vector<std::int64_t>& in_rows,
                           const std::vector<std::int64_t>& out_rows) override;
  int copies() const override { return copies_ ? copies_->size() : 1; }
  void sum_copies(torch::Tensor mine) override;

 private:
  std::unique_ptr<dist::Communicator> group_, copies_;  // null: there is one group
  dist::Communicator& communicator_;
};

}  // namespace decant::trainer
