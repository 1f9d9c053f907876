// Which build of the raw CPU kernels this machine runs. Files named *.isa.cpp are compiled once for each member of Isa,
// with -DDECANT_ISA=baseline|avx2|avx512; a dispatcher asks best_isa() once and calls the fitting namespace.
#pragma once

namespace decant::models {

enum class Isa { kBaseline, kAvx2, kAvx512 };

/// The widest set that this processor and its operating system offer; kBaseline where it is not x86-64.
[[nodiscard]] Isa best_isa();

/// "baseline", "avx2", "avx512": for reports and benchmarks.
[[nodiscard]] const char* isa_name(Isa isa);

}  // namespace decant::models
