// Which instruction sets this machine runs and this build contains, and which one the kernels use.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

const char* isa_name(Isa isa);

// The best ISA that the CPU, its operating system and this build support; every lower one runs too.
Isa best_isa();

// What CPUID and XGETBV say of a CPU; 0 where it has no such leaf.
struct CpuFeatures {
  unsigned leaf1_ecx, leaf7_ebx, leaf7_1_eax, xcr0;
};

// The best ISA of this build for such a CPU.
Isa isa_for(const CpuFeatures& cpu);

// Makes `active_isa()` return `isa`, which must not be above `best_isa()`. It starts as `best_isa()`.
void use_isa(Isa isa);

}  // namespace nnzoo
