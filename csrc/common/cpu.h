// Which instruction sets this machine runs and this build contains, and which one the kernels use.
#pragma once

#include "common/kernel.h"

namespace nnzoo {

const char* isa_name(Isa isa);

// The best ISA that the CPU, its operating system and this build support; every lower one runs too.
Isa best_isa();

// Makes `active_isa()` return `isa`, which must not be above `best_isa()`. It starts as `best_isa()`.
void use_isa(Isa isa);

}  // namespace nnzoo
