#include "trainer/row_gather.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace decant::trainer {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

dist::Communicator& communicator_in(AutogradContext* context) {
  return *reinterpret_cast<dist::Communicator*>(context->saved_data["communicator"].toInt());
}

void keep_communicator(AutogradContext* context, dist::Communicator& communicator) {
  context->saved_data["communicator"] = reinterpret_cast<std::int64_t>(&communicator);
}

Tensor summed(const Tensor& values, dist::Communicator& communicator) {
  auto out = values.detach().clone(at::MemoryFormat::Contiguous);
  communicator.all_reduce(out, dist::Reduce::kSum)->wait();
  return out;
}

/// Equal sizes travel: every rank fills its rows up to the longest.
Tensor gather_padded(const Tensor& rows, const std::vector<std::int64_t>& counts, dist::Communicator& communicator) {
  auto sizes = rows.sizes().vec();
  sizes[0] = *std::max_element(counts.begin(), counts.end());
  const auto ranks = static_cast<std::int64_t>(counts.size());
  auto mine = at::zeros(sizes, rows.options().requires_grad(false));
  mine.narrow(0, 0, rows.size(0)).copy_(rows.detach());
  sizes[0] *= ranks;
  auto all = at::zeros(sizes, mine.options());
  if (all.numel() > 0) communicator.all_gather(all, mine)->wait();
  std::vector<Tensor> parts;
  for (std::int64_t r = 0; r < ranks; ++r)
    parts.push_back(all.narrow(0, r * mine.size(0), counts[static_cast<std::size_t>(r)]));
  return at::cat(parts);
}

class Gather : public torch::autograd::Function<Gather> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& rows, const std::vector<std::int64_t>& counts,
                        std::int64_t first, dist::Communicator* communicator) {
    keep_communicator(context, *communicator);
    context->saved_data["first"] = first;
    context->saved_data["count"] = rows.size(0);
    return gather_padded(rows, counts, *communicator);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto all = summed(grads[0], communicator_in(context));
    return {all.narrow(0, context->saved_data["first"].toInt(), context->saved_data["count"].toInt()), Tensor(),
            Tensor(), Tensor()};
  }
};

class Sum : public torch::autograd::Function<Sum> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& values, dist::Communicator* communicator) {
    keep_communicator(context, *communicator);
    return summed(values, *communicator);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    return {summed(grads[0], communicator_in(context)), Tensor()};
  }
};

}  // namespace

GatheredRows RowGather::gather(const Tensor& rows) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(communicator_.size()), 0);
  const auto rank = static_cast<std::size_t>(communicator_.rank());
  counts[rank] = rows.size(0);
  communicator_.all_reduce_host(counts, dist::Reduce::kSum);
  std::int64_t first = 0;
  for (std::size_t r = 0; r < rank; ++r) first += counts[r];
  return {Gather::apply(rows, counts, first, &communicator_), first};
}

Tensor RowGather::sum(const Tensor& values) { return Sum::apply(values, &communicator_); }

}  // namespace decant::trainer
