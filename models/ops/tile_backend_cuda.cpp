// ATen operations with the two dominating steps as kernels of our own.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "models/ops/tile_backend_aten.h"
#include "models/ops/tile_kernels_cuda.h"

namespace decant::models {
namespace {

torch::Tensor inverses(const std::vector<double>& temperatures, torch::Device device) {
  std::vector<float> out;
  for (const double t : temperatures) out.push_back(static_cast<float>(1.0 / t));
  return torch::tensor(out, torch::kFloat32).to(device);
}

void check(const char* error) {
  if (error != nullptr) throw std::runtime_error(std::string("CUDA kernel of the catalogue walk: ") + error);
}

class CudaTileBackend : public AtenTileBackend {
 public:
  void accumulate(const torch::Tensor& tile, const std::vector<double>& temperatures, LseState& state) const override {
    const c10::cuda::CUDAGuard guard(tile.device());
    const auto inv = inverses(temperatures, tile.device());
    const auto held = tile.contiguous();
    check(cuda_accumulate(held.data_ptr<float>(), held.size(0), held.size(1), inv.data_ptr<float>(), inv.size(0),
                          state.max.data_ptr<float>(), state.sums.data_ptr<double>(),
                          c10::cuda::getCurrentCUDAStream(tile.device().index()).stream()));
  }

  void softmax_grad(torch::Tensor& tile, const std::vector<double>& temperatures, const torch::Tensor& lse,
                    const torch::Tensor& grad) const override {
    const c10::cuda::CUDAGuard guard(tile.device());
    const auto inv = inverses(temperatures, tile.device());
    check(cuda_softmax_grad(tile.data_ptr<float>(), tile.size(0), tile.size(1), inv.data_ptr<float>(), inv.size(0),
                            lse.data_ptr<float>(), grad.data_ptr<float>(),
                            c10::cuda::getCurrentCUDAStream(tile.device().index()).stream()));
  }
};

}  // namespace

const TileBackend& cuda_tile_backend() {
  static const CudaTileBackend backend;
  return backend;
}

}  // namespace decant::models
