// Which messages attain a maximum or minimum: a bit for each feature, where the row that they equal has a number.
#pragma once

#include "common/mask_bits.h"
#include "ops/gather_scatter/tile.h"

namespace nnzoo {
namespace NNZOO_ISA {

// The lanes whose bit is set, as ones, the others zero.
template <class T>
NNZOO_INLINE Vec<T> ones_of(std::uint32_t bits) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
  const Mask<T> mask{static_cast<decltype(Mask<T>::m)>(bits)};
  return select(mask, Vec<T>::set(T(1)), Vec<T>::zero());
#elif defined(__AVX2__) && defined(__FMA__)
  if constexpr (sizeof(T) == 4) {
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(bits)), each), each);
    return select(Mask<T>{_mm256_castsi256_ps(set)}, Vec<T>::set(T(1)), Vec<T>::zero());
  } else {
    const __m256i each = _mm256_setr_epi64x(1, 2, 4, 8);
    const __m256i set = _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits), each), each);
    return select(Mask<T>{_mm256_castsi256_pd(set)}, Vec<T>::set(T(1)), Vec<T>::zero());
  }
#elif defined(__SSE2__)
  const __m128i each = sizeof(T) == 4 ? _mm_setr_epi32(1, 2, 4, 8) : _mm_setr_epi32(1, 1, 2, 2);
  const __m128i set = _mm_cmpeq_epi32(_mm_and_si128(_mm_set1_epi32(static_cast<int>(bits)), each), each);
  if constexpr (sizeof(T) == 4) {
    return select(Mask<T>{_mm_castsi128_ps(set)}, Vec<T>::set(T(1)), Vec<T>::zero());
  } else {
    return select(Mask<T>{_mm_castsi128_pd(set)}, Vec<T>::set(T(1)), Vec<T>::zero());
  }
#else
  T ones[Vec<T>::width];
  for (int i = 0; i < Vec<T>::width; ++i) ones[i] = T(bits >> i & 1);
  return Vec<T>::load(ones);
#endif
}

// The bits of every edge, in the caller's order: 16 for each vector of its row, whose vectors begin anew at each head.
struct Ties {
  std::uint16_t* bits;
  std::int64_t of_edge, of_head;

  // Where those of a tile lie among an edge's.
  template <class T>
  NNZOO_INLINE std::int64_t offset(const FeaturePlace& place, std::int64_t span) const {
    const std::int64_t head = place.feature / span;
    return head * of_head + (place.feature - head * span) / Vec<T>::width;
  }
  NNZOO_INLINE std::uint16_t* of(std::int32_t edge, std::int64_t offset) const {
    return bits + edge * of_edge + offset;
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
