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

}  // namespace

std::string build_text() { return DECANT_VERSION " (" DECANT_GIT_REVISION ", " DECANT_BUILD_TYPE ")"; }

std::vector<std::pair<std::string, std::string>> version_rows() {
  return {{"decant", build_text()},
          {"LibTorch", DECANT_TORCH_VERSION},
          {"CUDA", cuda_text()},
          {"NCCL", nccl_text()},
          {"MPI", DECANT_MPI_VERSION ", loaded: " + dist::MpiSession::library_version()},
          {"HDF5", DECANT_HDF5_VERSION},
          {"prometheus-cpp", DECANT_PROMETHEUS_VERSION},
          {"cpp-httplib", DECANT_HTTPLIB_VERSION},
          {"yaml-cpp", DECANT_YAML_VERSION},
          {"CLI11", DECANT_CLI11_VERSION},
          {"nlohmann-json", DECANT_JSON_VERSION},
          {"xxHash", DECANT_XXHASH_VERSION},
          {"compiler", DECANT_COMPILER}};
}

std::string version_text() {
  constexpr std::size_t kWidth = 15;
  std::string out;
  for (auto [name, version] : version_rows()) {
    if (name == "decant")
      name += ' ';
    else
      name.resize(kWidth, ' ');
    out += name + (version.empty() ? "unknown" : version) + "\n";
  }
  return out;
}

}  // namespace decant::launch
