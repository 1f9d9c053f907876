#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstring>
#include <map>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "dist/errors.h"
#include "dist/nccl_internal.h"
#include "dist/tensor_checks.h"

namespace decant::dist {

namespace {

using at::cuda::CUDAEvent;

ncclDataType_t nccl_type(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return ncclFloat32;
    case torch::kFloat64:
      return ncclFloat64;
    case torch::kInt64:
      return ncclInt64;
    case torch::kBFloat16:
      return ncclBfloat16;
    default:
      return ncclUint8;
  }
}

ncclRedOp_t nccl_op(Reduce op) { return op == Reduce::kSum ? ncclSum : op == Reduce::kMax ? ncclMax : ncclMin; }

/// What works need after the call that made them: they may be waited for on another thread.
struct Shared {
  NcclHandle handle;
  at::cuda::CUDAStream stream;
  std::int64_t sequence = 0;
};

class NcclWork final : public Work {
 public:
  NcclWork(std::shared_ptr<Shared> shared, std::string name, std::vector<torch::Tensor> kept)
      : shared_(std::move(shared)), name_(std::move(name)), kept_(std::move(kept)) {
    done_.record(shared_->stream);
  }
  bool do_test() override {
    shared_->handle.check_async(name_.c_str());
    return done_.query();
  }
  /// The host waits too: a peer that is gone would otherwise show only where the stream is next waited for, for ever.
  void do_wait() override {
    shared_->handle.wait_until(name_.c_str(), [this] { return done_.query(); });
    done_.block(at::cuda::getCurrentCUDAStream(shared_->stream.device_index()));
  }

 private:
  std::shared_ptr<Shared> shared_;
  std::string name_;
  std::vector<torch::Tensor> kept_;
  CUDAEvent done_;
};

/// NCCL among the ranks of `control`, whose devices can be used.
std::unique_ptr<Communicator> connect(std::unique_ptr<Communicator> control, torch::Device device,
                                      std::chrono::milliseconds timeout);

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> control, const ncclUniqueId& id, torch::Device device,
                   std::chrono::milliseconds timeout)
      : control_(std::move(control)),
        device_(device),
        timeout_(timeout),
        shared_(new Shared{{id, control_->rank(), control_->size(), device, timeout},
                           at::cuda::getStreamFromPool(/*isHighPriority=*/true, device.index()),
                           0}) {}

  int rank() const override { return control_->rank(); }
  int size() const override { return control_->size(); }
  std::string backend() const override { return "nccl"; }
  torch::Device device() const override { return device_; }

  std::unique_ptr<Work> all_reduce(torch::Tensor tensor, Reduce op) override {
    check_reduce(tensor, op, device_);
    if (tensor.scalar_type() == torch::kBFloat16)
      return launch("all_reduce", {tensor}, [&](const char* title) {
        sum_bfloat16(shared_->handle, shared_->stream, rank(), size(), tensor, title);
      });
    return launch("all_reduce", {tensor}, [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclAllReduce(tensor.data_ptr(), tensor.data_ptr(), static_cast<std::size_t>(tensor.numel()),
                           nccl_type(tensor.scalar_type()), nccl_op(op), comm, stream);
    });
  }
  std::unique_ptr<Work> broadcast(torch::Tensor tensor, int root) override {
    check_tensor(tensor, device_, "broadcast");
    return launch("broadcast", {tensor}, [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclBroadcast(tensor.data_ptr(), tensor.data_ptr(), static_cast<std::size_t>(tensor.numel()),
                           nccl_type(tensor.scalar_type()), root, comm, stream);
    });
  }
  std::unique_ptr<Work> all_gather(torch::Tensor out, torch::Tensor in) override {
    check_gather(out, in, size(), device_);
    return launch("all_gather", {out, in}, [&](ncclComm_t comm, cudaStream_t stream) {
      return ncclAllGather(in.data_ptr(), out.data_ptr(), static_cast<std::size_t>(in.numel()),
                           nccl_type(in.scalar_type()), comm, stream);
    });
  }
  std::unique_ptr<Work> all_to_all(torch::Tensor out, const std::vector<std::int64_t>& out_counts, torch::Tensor in,
                                   const std::vector<std::int64_t>& in_counts) override {
    check_all_to_all(out, out_counts, in, in_counts, size(), device_);
    return launch("all_to_all", {out, in}, [&](ncclComm_t comm, cudaStream_t stream) {
      return send_between_all(comm, stream, nccl_type(in.scalar_type()), out, out_counts, in, in_counts);
    });
  }
  std::unique_ptr<Communicator> split(int color) override { return connect(control_->split(color), device_, timeout_); }

  void barrier() override { control_->barrier(); }
  void rendezvous() override { control_->rendezvous(); }
  void all_reduce_host(std::vector<double>& values, Reduce op) override { control_->all_reduce_host(values, op); }
  void all_reduce_host(std::vector<std::int64_t>& values, Reduce op) override { control_->all_reduce_host(values, op); }
  std::vector<std::string> gather_bytes(const std::string& bytes) override { return control_->gather_bytes(bytes); }
  std::string broadcast_bytes(const std::string& bytes, int root) override {
    return control_->broadcast_bytes(bytes, root);
  }
  double waited_seconds() const override { return control_->waited_seconds(); }

 private:
  /// Enqueues `call` behind what the current stream of this thread has been given so far. In a gradient hook that is
  /// the stream on which autograd accumulated the gradient: the engine makes it current around the hook.
  template <class Call>
  std::unique_ptr<Work> launch(const char* name, std::vector<torch::Tensor> tensors, Call call) {
    const c10::cuda::CUDAGuard guard(device_);
    const std::string title = std::string(name) + " #" + std::to_string(shared_->sequence++) + " of " +
                              std::to_string(tensors.front().nbytes()) + " bytes";
    shared_->handle.check_async(title.c_str());
    CUDAEvent ready;
    ready.record(at::cuda::getCurrentCUDAStream(device_.index()));
    ready.block(shared_->stream);
    if constexpr (std::is_invocable_v<Call, const char*>)
      call(title.c_str());  // several calls of NCCL
    else
      shared_->handle.settle(call(shared_->handle.get(), shared_->stream.stream()), title.c_str());
    // The allocator must not hand the memory out again before this stream is done with it.
    for (const auto& tensor : tensors) tensor.record_stream(shared_->stream.unwrap());
    return std::make_unique<NcclWork>(shared_, title, std::move(tensors));
  }

  std::unique_ptr<Communicator> control_;
  torch::Device device_;
  std::chrono::milliseconds timeout_;
  std::shared_ptr<Shared> shared_;
};

std::unique_ptr<Communicator> connect(std::unique_ptr<Communicator> control, torch::Device device,
                                      std::chrono::milliseconds timeout) {
  std::string bytes(sizeof(ncclUniqueId), '\0');
  ncclUniqueId id{};
  if (control->rank() == 0) {
    check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    std::memcpy(bytes.data(), &id, sizeof id);
  }
  bytes = control->broadcast_bytes(bytes, 0);
  std::memcpy(&id, bytes.data(), sizeof id);
  // Nobody connects before everybody has the id: rank 0's socket does not wait for ever.
  control->barrier();
  return std::make_unique<NcclCommunicator>(std::move(control), id, device, timeout);
}

/// Throws ConfigError when this process cannot use `device`; else returns what tells its GPU from all others.
std::string gpu_id(const torch::Device& device) {
  if (!device.is_cuda()) throw base::ConfigError("NCCL takes CUDA devices, not " + device.str());
  const c10::DeviceIndex count = c10::cuda::device_count();
  if (count == 0)
    throw base::ConfigError("no CUDA device is there (does nvidia-smi list one?); run on the CPU with the MPI backend");
  if (!device.has_index() || device.index() >= count)
    throw base::ConfigError(device.str() + " is not one of the " + std::to_string(count) +
                            " CUDA devices that are visible here, cuda:0 to cuda:" + std::to_string(count - 1));
  (void)nccl_identity();
  cudaDeviceProp properties{};
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device.index()); error != cudaSuccess)
    throw base::ConfigError(device.str() + " cannot be used: " + cudaGetErrorString(error));
  return {properties.uuid.bytes, sizeof properties.uuid.bytes};
}

/// All ranks learn what is wrong on any of them, so that none is left waiting for NCCL.
void require_usable_devices(Communicator& control, const torch::Device& device) {
  constexpr char kGood = '+', kBad = '-';
  std::string report;
  try {
    report = kGood + gpu_id(device);
  } catch (const base::Error& error) {
    report = kBad + std::string(error.what());
  }
  std::map<std::string, std::size_t> users;
  const std::vector<std::string> reports = control.gather_bytes(report);
  for (std::size_t rank = 0; rank < reports.size(); ++rank) {
    const std::string text = reports[rank].substr(1);
    if (reports[rank].front() == kBad) throw base::ConfigError("rank " + std::to_string(rank) + ": " + text);
    // NCCL would only say "invalid usage".
    if (const auto [at, fresh] = users.emplace(text, rank); !fresh)
      throw base::ConfigError("ranks " + std::to_string(at->second) + " and " + std::to_string(rank) +
                              " use the same GPU: start at most as many ranks a host as it has GPUs");
  }
}

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(const MpiSession& session, torch::Device device,
                                                     CommunicatorOptions options) {
  auto control = make_mpi_communicator(session, options);
  require_usable_devices(*control, device);
  return connect(std::move(control), device, options.timeout);
}

}  // namespace decant::dist
