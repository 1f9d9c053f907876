#include <c10/core/DeviceGuard.h>
#include <dlfcn.h>
#include <torch/csrc/cuda/nccl.h>

#include <exception>

#include "base/errors.h"
#include "dist/backoff.h"
#include "dist/errors.h"
#include "dist/nccl_internal.h"

namespace decant::dist {

namespace {

const char* hint(ncclResult_t result) {
  switch (result) {
    case ncclSystemError:
      return "set NCCL_DEBUG=WARN for the reason; often the network interface (NCCL_SOCKET_IFNAME) or a small /dev/shm";
    case ncclRemoteError:
      return "another rank has ended or left the network: its output or log tells why";
    case ncclInvalidUsage:
      return "do two ranks use one GPU? NCCL_DEBUG=WARN tells more";
    case ncclUnhandledCudaError:
      return "a CUDA call failed, perhaps an earlier kernel: CUDA_LAUNCH_BLOCKING=1 finds it";
    default:
      return "NCCL_DEBUG=WARN tells more";
  }
}

std::string version_text(int code) {
  return std::to_string(code / 10000) + "." + std::to_string(code / 100 % 100) + "." + std::to_string(code % 100);
}

}  // namespace

void check_nccl(ncclResult_t result, const char* call, const std::string& last_error) {
  if (result == ncclSuccess) return;
  throw CommError(std::string(call) + ": " + ncclGetErrorString(result) +
                  (last_error.empty() ? "" : ", " + last_error) + " (" + hint(result) + ")");
}

ncclResult_t NcclApi::init(ncclComm_t* comm, int size, const ncclUniqueId& id, int rank, ncclConfig_t* config) const {
  return ncclCommInitRankConfig(comm, size, id, rank, config);
}
ncclResult_t NcclApi::async_error(ncclComm_t comm, ncclResult_t* state) const {
  return ncclCommGetAsyncError(comm, state);
}
ncclResult_t NcclApi::finalize(ncclComm_t comm) const { return ncclCommFinalize(comm); }
void NcclApi::destroy(ncclComm_t comm) const { ncclCommDestroy(comm); }
void NcclApi::abort(ncclComm_t comm) const { ncclCommAbort(comm); }
std::string NcclApi::last_error(ncclComm_t comm) const {
  const char* text = ncclGetLastError(comm);
  return text != nullptr ? text : "";
}

const NcclApi& nccl_api() {
  static const NcclApi api;
  return api;
}

NcclHandle::NcclHandle(const ncclUniqueId& id, int rank, int size, c10::Device device,
                       std::chrono::milliseconds timeout, const NcclApi& api)
    : api_(api), device_(device), timeout_(timeout) {
  const c10::DeviceGuard guard(device_);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // a blocking call could not be given up when a rank is missing
  try {
    const ncclResult_t result = api_.init(&comm_, size, id, rank, &config);
    if (result != ncclSuccess) settle(result, "ncclCommInitRankConfig");
    settle(ncclInProgress, "ncclCommInitRankConfig");
  } catch (...) {
    failed_ = true;
    close();
    throw;
  }
}

NcclHandle::~NcclHandle() { close(); }

void NcclHandle::pause_until(Clock::time_point deadline, const Backoff& backoff, const char* call) {
  if (Clock::now() > deadline) {
    failed_ = true;
    throw CommError(std::string(call) + ": time-out after " + std::to_string(timeout_.count()) +
                    " ms: not every rank answers; the first failure is in another rank's output or log");
  }
  backoff.pause();
}

void NcclHandle::wait_until(const char* call, const std::function<bool()>& done) {
  const auto deadline = Clock::now() + timeout_;
  const Backoff backoff;
  for (check_async(call); !done(); check_async(call)) pause_until(deadline, backoff, call);
}

void NcclHandle::check(ncclResult_t result, const char* call) {
  if (result == ncclSuccess) return;
  failed_ = true;
  check_nccl(result, call, comm_ != nullptr ? api_.last_error(comm_) : "");
}

void NcclHandle::settle(ncclResult_t result, const char* call) {
  const auto deadline = Clock::now() + timeout_;
  const Backoff backoff;
  while (result == ncclInProgress && comm_ != nullptr) {
    if (const ncclResult_t asked = api_.async_error(comm_, &result); asked != ncclSuccess) result = asked;
    if (result != ncclInProgress) break;
    pause_until(deadline, backoff, call);
  }
  check(result, call);
}

void NcclHandle::check_async(const char* call) {
  if (failed_) throw CommError(std::string(call) + ": the communicator has failed before");
  ncclResult_t state = ncclSuccess;
  ncclResult_t result = api_.async_error(comm_, &state);
  if (result == ncclSuccess && state != ncclInProgress) result = state;
  check(result, call);
}

void NcclHandle::close() noexcept {
  if (comm_ == nullptr) return;
  try {
    const c10::DeviceGuard guard(device_);
    // While an error is on its way out the peers may be gone; only an abort returns then.
    if (!failed_ && std::uncaught_exceptions() == 0) {
      settle(api_.finalize(comm_), "ncclCommFinalize");
      api_.destroy(comm_);
    } else {
      api_.abort(comm_);
    }
  } catch (...) {  // finalizing failed, or CUDA itself is gone
    api_.abort(comm_);
  }
  comm_ = nullptr;
}

std::string nccl_identity() {
  int loaded = 0;
  check_nccl(ncclGetVersion(&loaded), "ncclGetVersion");
  // By name and not by &ncclGetVersion, which in some executables is a stub of their own.
  Dl_info info{};
  void* symbol = ::dlsym(RTLD_DEFAULT, "ncclGetVersion");
  const std::string file = symbol != nullptr && ::dladdr(symbol, &info) != 0 ? info.dli_fname : "an unknown file";
  std::string found = "NCCL " + version_text(loaded) + " (" + file + ")";
  if (loaded != NCCL_VERSION_CODE)
    throw base::ConfigError(found + " is loaded, but decant was built with " + version_text(NCCL_VERSION_CODE) +
                            ": remove other copies from LD_LIBRARY_PATH and LD_PRELOAD, or build again");
  const std::uint64_t packed = torch::cuda::nccl::version();  // 32 bits major, 16 minor, 16 patch
  const auto torch_version =
      static_cast<int>((packed >> 32) * 10000 + (packed >> 16 & 0xffff) * 100 + (packed & 0xffff));
  if (torch_version != loaded)
    throw base::ConfigError(found + " is loaded, but LibTorch uses " + version_text(torch_version) +
                            ": remove other copies from LD_LIBRARY_PATH and LD_PRELOAD");
  return found;
}

}  // namespace decant::dist
