#include "models/ops/int8_kernels.h"

namespace decant::models {

namespace baseline {
extern const Int8Functions kInt8Functions;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Int8Functions kInt8Functions;
}
namespace avx512 {
extern const Int8Functions kInt8Functions, kInt8VnniFunctions;
}
#endif

namespace {

bool has_vnni() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return best_isa() == Isa::kAvx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

}  // namespace

const Int8Functions& int8_functions(Isa isa) {
#if defined(__x86_64__)
  static const bool vnni = has_vnni();
  if (isa == Isa::kAvx512) return vnni ? avx512::kInt8VnniFunctions : avx512::kInt8Functions;
  if (isa == Isa::kAvx2) return avx2::kInt8Functions;
#else
  (void)isa;
#endif
  return baseline::kInt8Functions;
}

const char* int8_kernel_name() { return has_vnni() ? "avx512-vnni" : isa_name(best_isa()); }

}  // namespace decant::models
