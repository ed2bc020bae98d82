// The lanes of a mask as the bits of a number.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Bit i is lane i.
template <class T>
NNZOO_INLINE std::uint32_t mask_bits(Mask<T> mask) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
  return mask.m;
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (sizeof(T) == 4) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(mask.m));
  } else {
    return static_cast<std::uint32_t>(_mm256_movemask_pd(mask.m));
  }
#elif defined(__SSE2__)
  if constexpr (sizeof(T) == 4) {
    return static_cast<std::uint32_t>(_mm_movemask_ps(mask.m));
  } else {
    return static_cast<std::uint32_t>(_mm_movemask_pd(mask.m));
  }
#else
  std::uint32_t bits = 0;
  for (int i = 0; i < Vec<T>::width; ++i) bits |= static_cast<std::uint32_t>(mask.m[i]) << i;
  return bits;
#endif
}

// Calls `body(i)` for each bit i that is set, from the lowest on.
template <class Body>
NNZOO_INLINE void for_each_bit(std::uint32_t bits, const Body& body) {
  for (; bits; bits &= bits - 1) body(__builtin_ctz(bits));
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
