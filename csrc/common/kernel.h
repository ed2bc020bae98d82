// How a CPU kernel is declared once and compiled for every instruction set.
//
// `<op>.h` describes a kernel's arguments as one plain struct and names the kernel:
//
//     struct LinearForward { const void* input; ... int threads; };
//     NNZOO_KERNEL(linear_forward, LinearForward)
//
// `<op>_cpu.cpp` is compiled once per ISA, with NNZOO_ISA set to the namespace (baseline, avx2, avx512, avx512_bf16),
// and defines `nnzoo::NNZOO_ISA::linear_forward`. Everything that it includes from common/ lives in that namespace too,
// so that the linker can never merge an inline function built for AVX-512 into the baseline path. `<op>_bind.cpp` calls
// `nnzoo::linear_forward`, which goes to the ISA chosen at run time.
#pragma once

#include <cstdint>

namespace nnzoo {

// In the order of what they can do. avx512_bf16 adds products of bfloat16 pairs; NNZOO_AVX512_BF16 says that the
// compiler knows them.
enum class Isa : int { baseline = 0, avx2 = 1, avx512 = 2, avx512_bf16 = 3 };

// The element type of a tensor; the values are shared with nnzoo_fast/_extension.py.
enum class DType : int { float32 = 0, bfloat16 = 1, float64 = 2, float16 = 3 };

#ifndef NNZOO_ISA
Isa active_isa();
#endif

}  // namespace nnzoo

#if defined(NNZOO_AVX512_BF16)
#define NNZOO_IF_AVX512_BF16(...) __VA_ARGS__
#else
#define NNZOO_IF_AVX512_BF16(...)
#endif

#if defined(NNZOO_ISA)
#define NNZOO_KERNEL(name, Args) \
  namespace NNZOO_ISA {          \
  void name(const Args& args);   \
  }
#elif defined(__x86_64__)
#define NNZOO_KERNEL(name, Args)                                               \
  namespace baseline {                                                         \
  void name(const Args& args);                                                 \
  }                                                                            \
  namespace avx2 {                                                             \
  void name(const Args& args);                                                 \
  }                                                                            \
  namespace avx512 {                                                           \
  void name(const Args& args);                                                 \
  }                                                                            \
  NNZOO_IF_AVX512_BF16(namespace avx512_bf16 { void name(const Args& args); }) \
  inline void name(const Args& args) {                                         \
    switch (active_isa()) {                                                    \
      case Isa::avx512_bf16:                                                   \
        NNZOO_IF_AVX512_BF16(return avx512_bf16::name(args);)                  \
        [[fallthrough]];                                                       \
      case Isa::avx512:                                                        \
        return avx512::name(args);                                             \
      case Isa::avx2:                                                          \
        return avx2::name(args);                                               \
      case Isa::baseline:                                                      \
        return baseline::name(args);                                           \
    }                                                                          \
  }
#else
#define NNZOO_KERNEL(name, Args) \
  namespace baseline {           \
  void name(const Args& args);   \
  }                              \
  inline void name(const Args& args) { baseline::name(args); }
#endif
