#include "trainer/table_exchange.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

namespace decant::trainer {

using torch::Tensor;

TableExchange::TableExchange(dist::Communicator& communicator, int shards)
    : group_(communicator.split(communicator.rank() / shards)),
      copies_(communicator.split(communicator.rank() % shards)),
      communicator_(*group_) {}

void TableExchange::sum_copies(Tensor mine) {
  if (copies_ && mine.numel() > 0) copies_->all_reduce(mine, dist::Reduce::kSum)->wait();
}

std::vector<std::int64_t> TableExchange::gather_host(const std::vector<std::int64_t>& mine) {
  std::vector<std::int64_t> all(mine.size() * static_cast<std::size_t>(ranks()), 0);
  std::copy(mine.begin(), mine.end(), all.begin() + static_cast<std::ptrdiff_t>(mine.size()) * rank());
  communicator_.all_reduce_host(all, dist::Reduce::kSum);
  return all;
}

Tensor TableExchange::all_gather(const Tensor& mine) {
  auto sizes = mine.sizes().vec();
  sizes[0] *= ranks();
  auto all = at::empty(sizes, mine.options().requires_grad(false));
  if (all.numel() > 0) communicator_.all_gather(all, mine)->wait();
  return all;
}

Tensor TableExchange::sum(const Tensor& mine) {
  auto out = mine.detach().clone(at::MemoryFormat::Contiguous);
  if (out.numel() > 0) communicator_.all_reduce(out, dist::Reduce::kSum)->wait();
  return out;
}

Tensor TableExchange::all_to_all(const Tensor& rows, const std::vector<std::int64_t>& in_rows,
                                 const std::vector<std::int64_t>& out_rows) {
  auto sizes = rows.sizes().vec();
  sizes[0] = std::accumulate(out_rows.begin(), out_rows.end(), std::int64_t{0});
  const auto width = c10::multiply_integers(rows.sizes().slice(1));
  const auto elements = [&](std::vector<std::int64_t> counts) {
    for (auto& count : counts) count *= width;
    return counts;
  };
  auto out = at::empty(sizes, rows.options().requires_grad(false));
  communicator_.all_to_all(out, elements(out_rows), rows, elements(in_rows))->wait();
  return out;
}

}  // namespace decant::trainer
