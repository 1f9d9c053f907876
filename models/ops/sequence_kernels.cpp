#include "models/ops/sequence_kernels.h"

namespace decant::models {

namespace baseline {
extern const SequenceKernels kSequenceKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const SequenceKernels kSequenceKernels;
}
namespace avx512 {
extern const SequenceKernels kSequenceKernels;
}
#endif

const SequenceKernels& sequence_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return avx512::kSequenceKernels;
  if (isa == Isa::kAvx2) return avx2::kSequenceKernels;
#else
  (void)isa;
#endif
  return baseline::kSequenceKernels;
}

std::int64_t attention_scratch(std::int64_t longest, std::int64_t head_dim) {
  // The widest vector decides, so that one size serves every Isa: see the layouts in sequence_kernels.isa.cpp.
  const auto padded = [](std::int64_t n) { return (n + 15) / 16 * 16; };
  return padded(longest) * (8 * padded(head_dim) + 2 * 8);
}

}  // namespace decant::models
