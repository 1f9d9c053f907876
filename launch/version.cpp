#include "launch/version.h"

#include <dlfcn.h>
#include <torch/cuda.h>

#include "base/errors.h"
#include "decant_build_info.h"
#include "dist/communicator.h"

namespace decant::launch {

namespace {

/// CUDA version that the driver of this host can run, or "": asked by name, so that a host without one works as well.
std::string driver_version() {
  void* library = ::dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return "";
  int version = 0;
  const auto ask = reinterpret_cast<int (*)(int*)>(::dlsym(library, "cuDriverGetVersion"));
  const bool told = ask != nullptr && ask(&version) == 0 && version > 0;
  ::dlclose(library);
  return told ? std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10) : "";
}

std::string cuda_text() {
  const std::string built = DECANT_CUDA_VERSION;
  if (built.empty()) return "not built in";
  const std::string driver = driver_version();
  return built + (driver.empty() ? ", no driver on this host"
                                 : ", driver for " + driver + ", " + std::to_string(torch::cuda::device_count()) +
                                       " devices visible");
}

std::string nccl_text() {
  const std::string built = DECANT_NCCL_VERSION;
  if (built.empty()) return "not built in";
  try {
    return built + ", loaded: " + dist::nccl_identity();
  } catch (const base::Error& error) {
    return built + ", " + error.what();
  }
}

std::string row(std::string name, const std::string& text) {
  name.resize(15, ' ');
  return name + (text.empty() ? "unknown" : text) + "\n";
}

}  // namespace

std::string version_text() {
  return "decant " DECANT_VERSION " (" DECANT_GIT_REVISION ", " DECANT_BUILD_TYPE ")\n" +
         row("LibTorch", DECANT_TORCH_VERSION) + row("CUDA", cuda_text()) + row("NCCL", nccl_text()) +
         row("MPI", DECANT_MPI_VERSION ", loaded: " + dist::MpiSession::library_version()) +
         row("HDF5", DECANT_HDF5_VERSION) + row("prometheus-cpp", DECANT_PROMETHEUS_VERSION) +
         row("cpp-httplib", DECANT_HTTPLIB_VERSION) + row("yaml-cpp", DECANT_YAML_VERSION) +
         row("CLI11", DECANT_CLI11_VERSION) + row("nlohmann-json", DECANT_JSON_VERSION) +
         row("xxHash", DECANT_XXHASH_VERSION) + row("compiler", DECANT_COMPILER);
}

}  // namespace decant::launch
