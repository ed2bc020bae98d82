// Vec<BFloat16Pair> on AVX-512 BF16. Included by simd.h, which documents the interface.
#pragma once

#include "common/simd_avx512.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <>
struct Vec<BFloat16Pair> {
  static constexpr int width = 16;
  __m512i v;

  static NNZOO_INLINE Vec zero() { return {_mm512_setzero_si512()}; }
  static NNZOO_INLINE Vec set(BFloat16Pair x) { return {_mm512_set1_epi32(bit_cast<int>(x))}; }
  static NNZOO_INLINE Vec load(const BFloat16Pair* p) { return {_mm512_loadu_si512(p)}; }
  static NNZOO_INLINE Vec load(const BFloat16* p) { return {_mm512_loadu_si512(p)}; }
  static NNZOO_INLINE Vec load(const BFloat16* p, int count) {
    return {_mm512_maskz_loadu_epi16(static_cast<__mmask32>((std::uint64_t(1) << count) - 1), p)};
  }
  // Lane i is {even[i], odd[i]}; {even[i], 0} without `odd`.
  static NNZOO_INLINE Vec interleave(const BFloat16* even) { return {widen(first(even))}; }
  static NNZOO_INLINE Vec interleave(const BFloat16* even, const BFloat16* odd) {
    return join(first(even), first(odd));
  }
  static NNZOO_INLINE Vec interleave(const BFloat16* even, int count) { return {widen(first(even, count))}; }
  static NNZOO_INLINE Vec interleave(const BFloat16* even, const BFloat16* odd, int count) {
    return join(first(even, count), first(odd, count));
  }
  NNZOO_INLINE void store(BFloat16Pair* p) const { _mm512_storeu_si512(p, v); }
  NNZOO_INLINE void store(BFloat16Pair* p, int count) const {
    _mm512_mask_storeu_epi32(p, first_lanes<float>(count).m, v);
  }

 private:
  static NNZOO_INLINE __m256i first(const BFloat16* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static NNZOO_INLINE __m256i first(const BFloat16* p, int count) {
    return _mm256_maskz_loadu_epi16(first_lanes<float>(count).m, p);
  }
  static NNZOO_INLINE __m512i widen(__m256i half) { return _mm512_cvtepu16_epi32(half); }
  static NNZOO_INLINE Vec join(__m256i even, __m256i odd) {
    return {_mm512_or_si512(widen(even), _mm512_slli_epi32(widen(odd), 16))};
  }
};

// c + a.even * b.even + a.odd * b.odd, each product and sum rounded to nearest even; subnormals count as zero.
NNZOO_INLINE Vec<float> fma(Vec<BFloat16Pair> a, Vec<BFloat16Pair> b, Vec<float> c) {
  return {_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v))};
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
