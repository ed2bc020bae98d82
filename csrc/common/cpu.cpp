#include "common/cpu.h"

#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace nnzoo {
namespace {

#if defined(__x86_64__)

bool all(unsigned value, unsigned bits) { return (value & bits) == bits; }

// The register state that the operating system saves at a context switch: without it an instruction set traps or loses
// its registers, whatever the CPU itself can do.
unsigned saved_state() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

CpuFeatures this_cpu() {
  CpuFeatures cpu{0, 0, 0, 0};
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return cpu;
  cpu.leaf1_ecx = ecx;
  if (all(ecx, bit_OSXSAVE)) cpu.xcr0 = saved_state();
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
    cpu.leaf7_ebx = ebx;
    if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx)) cpu.leaf7_1_eax = eax;
  }
  return cpu;
}

#else

CpuFeatures this_cpu() { return {0, 0, 0, 0}; }

#endif

std::atomic<Isa>& active() {
  static std::atomic<Isa> isa{best_isa()};
  return isa;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx512_bf16:
      return "avx512_bf16";
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    case Isa::baseline:
      return "baseline";
  }
  return "unknown";
}

Isa best_isa() {
  static const Isa isa = isa_for(this_cpu());
  return isa;
}

#if defined(__x86_64__)
Isa isa_for(const CpuFeatures& cpu) {
  constexpr unsigned kXmmYmm = 0x06, kZmm = 0xe0;
  constexpr unsigned kBfloat16 = 1u << 5;  // <cpuid.h> of older compilers has no name for it
  const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  if (!all(cpu.leaf1_ecx, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C)) return Isa::baseline;
  if (!all(cpu.xcr0, kXmmYmm) || !all(cpu.leaf7_ebx, bit_AVX2)) return Isa::baseline;
  if (!all(cpu.xcr0, kZmm) || !all(cpu.leaf7_ebx, avx512)) return Isa::avx2;
#if defined(NNZOO_AVX512_BF16)
  if (all(cpu.leaf7_1_eax, kBfloat16)) return Isa::avx512_bf16;
#endif
  return Isa::avx512;
}
#else
Isa isa_for(const CpuFeatures&) { return Isa::baseline; }
#endif

Isa active_isa() { return active().load(std::memory_order_relaxed); }

void use_isa(Isa isa) { active().store(isa, std::memory_order_relaxed); }

}  // namespace nnzoo
