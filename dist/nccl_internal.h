// The NCCL side of dist, for its own sources.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dist/backoff.h"
#include "dist/communicator.h"

namespace decant::dist {

/// Throws CommError with the call, NCCL's own message, `last_error` and one hint unless `result` is ncclSuccess.
void check_nccl(ncclResult_t result, const char* call, const std::string& last_error = "");

/// The calls of NCCL on which the life of a communicator hangs, as an interface: a test answers in NCCL's place.
class NcclApi {
 public:
  virtual ~NcclApi() = default;
  virtual ncclResult_t init(ncclComm_t* comm, int size, const ncclUniqueId& id, int rank, ncclConfig_t* config) const;
  virtual ncclResult_t async_error(ncclComm_t comm, ncclResult_t* state) const;
  virtual ncclResult_t finalize(ncclComm_t comm) const;
  virtual void destroy(ncclComm_t comm) const;
  virtual void abort(ncclComm_t comm) const;
  virtual std::string last_error(ncclComm_t comm) const;
};
/// NCCL itself.
[[nodiscard]] const NcclApi& nccl_api();

/// Owns a non-blocking ncclComm_t: made together by all ranks, aborted after a failure, finalized otherwise.
class NcclHandle {
 public:
  /// Takes part in making the communicator, and polls until it is ready or `timeout` has passed.
  NcclHandle(const ncclUniqueId& id, int rank, int size, c10::Device device, std::chrono::milliseconds timeout,
             const NcclApi& api = nccl_api());
  ~NcclHandle();
  NcclHandle(const NcclHandle&) = delete;
  NcclHandle& operator=(const NcclHandle&) = delete;

  [[nodiscard]] ncclComm_t get() const { return comm_; }
  /// To be given what a call returned: polls while it is "in progress" (until then nothing is on the stream yet).
  void settle(ncclResult_t result, const char* call);
  /// Throws CommError when a peer or the network has failed since.
  void check_async(const char* call);
  /// Polls `done` and check_async until the former is true. Throws CommError past the time-out.
  void wait_until(const char* call, const std::function<bool()>& done);

 private:
  using Clock = std::chrono::steady_clock;
  void close() noexcept;
  /// Remembers a failure and throws it.
  void check(ncclResult_t result, const char* call);
  void pause_until(Clock::time_point deadline, const Backoff& backoff, const char* call);

  const NcclApi& api_;
  ncclComm_t comm_ = nullptr;
  c10::Device device_;
  std::chrono::milliseconds timeout_;
  bool failed_ = false;
};

/// in_counts[r] elements of `in` to rank r, out_counts[r] of `out` from it, by rank.
[[nodiscard]] ncclResult_t send_between_all(ncclComm_t comm, cudaStream_t stream, ncclDataType_t type,
                                            const at::Tensor& out, const std::vector<std::int64_t>& out_counts,
                                            const at::Tensor& in, const std::vector<std::int64_t>& in_counts);

/// Enqueues the sum over ranks of a bfloat16 `tensor`, in place, on `stream`.
void sum_bfloat16(NcclHandle& handle, const c10::cuda::CUDAStream& stream, int rank, int ranks,
                  const at::Tensor& tensor, const char* title);

}  // namespace decant::dist
