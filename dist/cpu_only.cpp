// What a build without CUDA answers when NCCL is asked for.
#ifndef DECANT_WITH_CUDA

#include "base/errors.h"
#include "dist/communicator.h"

namespace decant::dist {

std::unique_ptr<Communicator> make_nccl_communicator(const MpiSession&, torch::Device, CommunicatorOptions) {
  throw base::ConfigError(
      "NCCL needs a build with CUDA, and this one has none: configure with -DDECANT_CUDA=ON where nvcc is, or run on "
      "the CPU");
}

std::string nccl_identity() { return ""; }

}  // namespace decant::dist

#endif
