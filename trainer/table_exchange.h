// The exchange of a sharded table over a communicator.
#pragma once

#include "dist/communicator.h"
#include "models/exchange.h"

namespace decant::trainer {

/// REQUIRES: the communicator outlives it. Tensors travel by the communicator's backend, host values by its control path.
class TableExchange final : public models::Exchange {
 public:
  explicit TableExchange(dist::Communicator& communicator) : communicator_(communicator) {}
  int rank() const override { return communicator_.rank(); }
  int ranks() const override { return communicator_.size(); }
  std::vector<std::int64_t> gather_host(const std::vector<std::int64_t>& mine) override;
  torch::Tensor all_gather(const torch::Tensor& mine) override;
  torch::Tensor sum(const torch::Tensor& mine) override;
  torch::Tensor all_to_all(const torch::Tensor& rows, const std::vector<std::int64_t>& in_rows,
                           const std::vector<std::int64_t>& out_rows) override;

 private:
  dist::Communicator& communicator_;
};

}  // namespace decant::trainer
