// Counter-based random bits for dropout: Philox 2x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011). The word of element `index` is a pure function of (seed, index), so a mask needs no storage and is the
// same in forward, backward, every backend and any number of threads. nnzoo_fast/random.py is the same function in
// Python.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

constexpr std::uint32_t philox_multiplier = 0xd256d193u, philox_weyl = 0x9e3779b9u;

NNZOO_INLINE std::uint32_t philox(std::uint64_t index, std::uint32_t seed) {
  std::uint32_t low = static_cast<std::uint32_t>(index), high = static_cast<std::uint32_t>(index >> 32);
  for (int round = 0; round < 10; ++round, seed += philox_weyl) {
    const std::uint64_t product = std::uint64_t(low) * philox_multiplier;
    low = static_cast<std::uint32_t>(product >> 32) ^ seed ^ high;
    high = static_cast<std::uint32_t>(product);
  }
  return low;
}

// 64-bit lanes for Philox, whose upper halves may hold anything: the widening product reads the lower ones.
#if defined(__AVX512F__)
struct PhiloxLanes {
  static constexpr int count = 8;
  __m512i v;
  static NNZOO_INLINE PhiloxLanes set(std::uint64_t x) { return {_mm512_set1_epi64(static_cast<long long>(x))}; }
  static NNZOO_INLINE PhiloxLanes steps() { return {_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7)}; }
  NNZOO_INLINE PhiloxLanes times(PhiloxLanes other) const { return {_mm512_mul_epu32(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes operator+(PhiloxLanes other) const { return {_mm512_add_epi64(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes operator^(PhiloxLanes other) const { return {_mm512_xor_si512(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes upper() const { return {_mm512_srli_epi64(v, 32)}; }
};
// Lanes whose word is at least `least`.
NNZOO_INLINE Mask<double> words_at_least(PhiloxLanes words, std::uint32_t least) {
  const __m512i word = _mm512_and_si512(words.v, _mm512_set1_epi64(0xffffffffll));
  return {_mm512_cmpge_epu64_mask(word, _mm512_set1_epi64(least))};
}
NNZOO_INLINE Mask<float> words_at_least(PhiloxLanes first, PhiloxLanes second, std::uint32_t least) {
  return {_mm512_kunpackb(words_at_least(second, least).m, words_at_least(first, least).m)};
}
#elif defined(__AVX2__)
struct PhiloxLanes {
  static constexpr int count = 4;
  __m256i v;
  static NNZOO_INLINE PhiloxLanes set(std::uint64_t x) { return {_mm256_set1_epi64x(static_cast<long long>(x))}; }
  static NNZOO_INLINE PhiloxLanes steps() { return {_mm256_setr_epi64x(0, 1, 2, 3)}; }
  NNZOO_INLINE PhiloxLanes times(PhiloxLanes other) const { return {_mm256_mul_epu32(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes operator+(PhiloxLanes other) const { return {_mm256_add_epi64(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes operator^(PhiloxLanes other) const { return {_mm256_xor_si256(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes upper() const { return {_mm256_srli_epi64(v, 32)}; }
};
NNZOO_INLINE __m256i unsigned_at_least(__m256i words, std::uint32_t least) {
  return _mm256_cmpeq_epi32(_mm256_max_epu32(words, _mm256_set1_epi32(static_cast<int>(least))), words);
}
NNZOO_INLINE Mask<double> words_at_least(PhiloxLanes words, std::uint32_t least) {
  return {_mm256_castsi256_pd(unsigned_at_least(_mm256_shuffle_epi32(words.v, 0xa0), least))};
}
NNZOO_INLINE Mask<float> words_at_least(PhiloxLanes first, PhiloxLanes second, std::uint32_t least) {
  const __m256 mixed = _mm256_shuffle_ps(_mm256_castsi256_ps(first.v), _mm256_castsi256_ps(second.v), 0x88);
  const __m256i words = _mm256_permute4x64_epi64(_mm256_castps_si256(mixed), 0xd8);
  return {_mm256_castsi256_ps(unsigned_at_least(words, least))};
}
#elif defined(__SSE2__)
struct PhiloxLanes {
  static constexpr int count = 2;
  __m128i v;
  static NNZOO_INLINE PhiloxLanes set(std::uint64_t x) { return {_mm_set1_epi64x(static_cast<long long>(x))}; }
  static NNZOO_INLINE PhiloxLanes steps() { return {_mm_set_epi64x(1, 0)}; }
  NNZOO_INLINE PhiloxLanes times(PhiloxLanes other) const { return {_mm_mul_epu32(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes operator+(PhiloxLanes other) const { return {_mm_add_epi64(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes operator^(PhiloxLanes other) const { return {_mm_xor_si128(v, other.v)}; }
  NNZOO_INLINE PhiloxLanes upper() const { return {_mm_srli_epi64(v, 32)}; }
};
NNZOO_INLINE __m128i unsigned_at_least(__m128i words, std::uint32_t least) {
  const __m128i sign = _mm_set1_epi32(static_cast<int>(0x80000000u));  // SSE2 compares signed numbers only
  const __m128i below =
      _mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(least ^ 0x80000000u)), _mm_xor_si128(words, sign));
  return _mm_xor_si128(below, _mm_set1_epi32(-1));
}
NNZOO_INLINE Mask<double> words_at_least(PhiloxLanes words, std::uint32_t least) {
  return {_mm_castsi128_pd(unsigned_at_least(_mm_shuffle_epi32(words.v, 0xa0), least))};
}
NNZOO_INLINE Mask<float> words_at_least(PhiloxLanes first, PhiloxLanes second, std::uint32_t least) {
  const __m128 words = _mm_shuffle_ps(_mm_castsi128_ps(first.v), _mm_castsi128_ps(second.v), 0x88);
  return {_mm_castsi128_ps(unsigned_at_least(_mm_castps_si128(words), least))};
}
#endif

#if defined(__SSE2__)
// The words of the counters index, index + stride, ... in the lanes' lower halves.
NNZOO_INLINE PhiloxLanes philox_lanes(std::uint64_t index, std::uint32_t seed, std::uint32_t stride) {
  PhiloxLanes low = PhiloxLanes::set(index) + PhiloxLanes::steps().times(PhiloxLanes::set(stride)), high = low.upper();
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round, seed += philox_weyl) {
    const PhiloxLanes product = low.times(PhiloxLanes::set(philox_multiplier));
    low = product.upper() ^ PhiloxLanes::set(seed) ^ high;
    high = product;
  }
  return low;
}

template <class T>
NNZOO_INLINE Mask<T> philox_at_least(std::uint64_t index, std::uint32_t seed, std::uint32_t stride,
                                     std::uint32_t least) {
  const PhiloxLanes first = philox_lanes(index, seed, stride);
  if constexpr (Vec<T>::width == PhiloxLanes::count) {
    return words_at_least(first, least);
  } else {
    const std::uint64_t next = index + std::uint64_t(PhiloxLanes::count) * stride;
    return words_at_least(first, philox_lanes(next, seed, stride), least);
  }
}
#else
template <class T>
NNZOO_INLINE Mask<T> philox_at_least(std::uint64_t index, std::uint32_t seed, std::uint32_t stride,
                                     std::uint32_t least) {
  Mask<T> mask;
  for (int i = 0; i < Vec<T>::width; ++i) {
    mask.m[i] = philox(index + static_cast<std::uint64_t>(i) * stride, seed) >= least;
  }
  return mask;
}
#endif

// Dropout with probability p keeps element i iff philox(i, seed) >= floor(p * 2^32), compared in 64 bits: p = 1 keeps
// none.
struct Dropout {
  std::uint64_t threshold;
  std::uint32_t seed;
  double scale;  // 1 / (1 - p); 0 if nothing is kept

  Dropout(double p, std::uint64_t seed_value)
      : threshold(static_cast<std::uint64_t>(p * 4294967296.0)),
        seed(static_cast<std::uint32_t>(seed_value)),
        scale(p < 1 ? 1 / (1 - p) : 0) {}

  NNZOO_INLINE bool keeps(std::uint64_t index) const { return philox(index, seed) >= threshold; }

  // What the elements index, index + stride, ... are multiplied with: scale or 0.
  template <class T>
  NNZOO_INLINE Vec<T> factors(std::uint64_t index, std::uint32_t stride = 1) const {
    // A threshold of 2^32 keeps nothing: scale is 0 then.
    const std::uint32_t least = threshold > 0xffffffffu ? 0xffffffffu : static_cast<std::uint32_t>(threshold);
    const Mask<T> kept = philox_at_least<T>(index, seed, stride, least);
    return select(kept, Vec<T>::set(static_cast<T>(scale)), Vec<T>::zero());
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
