// The sum of bfloat16 tensors over GPUs, equal to that over MPI to the bit: every rank owns one segment, is sent that
// segment by all the others, adds in float32 and rank order, rounds once, and sends the sum back. ncclAllReduce would
// round at every hop, and get worse with every rank.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "dist/nccl_internal.h"

namespace decant::dist {

namespace {

bool went_well(ncclResult_t result) { return result == ncclSuccess || result == ncclInProgress; }

/// Calls `call(peer)` for all peers as one group of NCCL; the first failure.
template <class Call>
ncclResult_t grouped(int ranks, Call call) {
  ncclResult_t result = ncclGroupStart();
  for (int peer = 0; peer < ranks; ++peer)
    if (const ncclResult_t next = call(peer); went_well(result)) result = next;
  const ncclResult_t ended = ncclGroupEnd();
  return went_well(result) ? ended : result;
}

}  // namespace

ncclResult_t send_between_all(ncclComm_t comm, cudaStream_t stream, ncclDataType_t type, const at::Tensor& out,
                              const std::vector<std::int64_t>& out_counts, const at::Tensor& in,
                              const std::vector<std::int64_t>& in_counts) {
  const auto width = static_cast<std::int64_t>(in.element_size());
  auto* to = static_cast<std::byte*>(out.data_ptr());
  const auto* from = static_cast<const std::byte*>(in.const_data_ptr());
  return grouped(static_cast<int>(in_counts.size()), [&](int peer) {
    const auto sent = in_counts[static_cast<std::size_t>(peer)], got = out_counts[static_cast<std::size_t>(peer)];
    ncclResult_t result = ncclSuccess;
    if (sent > 0) result = ncclSend(from, static_cast<std::size_t>(sent), type, peer, comm, stream);
    if (got > 0 && went_well(result)) result = ncclRecv(to, static_cast<std::size_t>(got), type, peer, comm, stream);
    from += sent * width, to += got * width;
    return result;
  });
}

void sum_bfloat16(NcclHandle& handle, const c10::cuda::CUDAStream& stream, int rank, int ranks,
                  const at::Tensor& tensor, const char* title) {
  const c10::cuda::CUDAStreamGuard guard(stream);  // memory and kernels in between
  const at::Tensor flat = tensor.detach().view({-1});
  const auto begin_of = [&](int peer) { return flat.numel() * peer / ranks; };
  std::vector<std::int64_t> counts;
  for (int peer = 0; peer < ranks; ++peer) counts.push_back(begin_of(peer + 1) - begin_of(peer));
  const std::int64_t own = counts[static_cast<std::size_t>(rank)];
  const at::Tensor parts = at::empty({ranks, own}, flat.options());
  handle.settle(send_between_all(handle.get(), stream.stream(), ncclBfloat16, parts,
                                 std::vector<std::int64_t>(counts.size(), own), flat, counts),
                title);
  at::Tensor sum = parts[0].to(at::kFloat);
  for (int peer = 1; peer < ranks; ++peer) sum.add_(parts[peer]);
  flat.narrow(0, begin_of(rank), own).copy_(sum);
  handle.settle(grouped(ranks,
                        [&](int owner) {
                          const auto count = static_cast<std::size_t>(counts[static_cast<std::size_t>(owner)]);
                          if (count == 0) return ncclSuccess;
                          auto* segment = static_cast<std::byte*>(flat.data_ptr()) + begin_of(owner) * 2;
                          return ncclBroadcast(segment, segment, count, ncclBfloat16, owner, handle.get(),
                                               stream.stream());
                        }),
                title);
}

}  // namespace decant::dist
