// Vec<float> and Vec<double> on AVX-512 F, BW, DQ and VL. Included by simd.h, which documents the interface.
#pragma once

// Older GCC headers leave the unused source of many intrinsics undefined on purpose, and warn about it once inlined.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
struct Vec;
template <class T>
struct Mask;

template <>
struct Mask<float> {
  __mmask16 m;
};
template <>
struct Mask<double> {
  __mmask8 m;
};

template <class T>
NNZOO_INLINE Mask<T> first_lanes(int count) {
  return {static_cast<decltype(Mask<T>::m)>((1u << count) - 1u)};
}

template <>
struct Vec<float> {
  static constexpr int width = 16;
  __m512 v;

  static NNZOO_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
  static NNZOO_INLINE Vec set(float x) { return {_mm512_set1_ps(x)}; }
  static NNZOO_INLINE Vec from_bits(std::uint32_t u) {
    return {_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(u)))};
  }
  static NNZOO_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static NNZOO_INLINE Vec load(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(first_lanes<float>(count).m, p)};
  }
  static NNZOO_INLINE Vec widen(__m256i half) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
  }
  static NNZOO_INLINE Vec load(const BFloat16* p) {
    return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static NNZOO_INLINE Vec load(const BFloat16* p, int count) {
    return widen(_mm256_maskz_loadu_epi16(first_lanes<float>(count).m, p));
  }
  NNZOO_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  NNZOO_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }
  NNZOO_INLINE void store(float* p, int count) const { _mm512_mask_storeu_ps(p, first_lanes<float>(count).m, v); }
  NNZOO_INLINE __m256i narrow() const {
#if defined(__AVX512BF16__)
    // The CPU's own conversion would flush subnormals and keep the payloads of NaN.
    constexpr int nan_or_subnormal = 0x01 | 0x80 | 0x20;
    if (__builtin_expect(_mm512_fpclass_ps_mask(v, nan_or_subnormal) == 0, 1)) {
      return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
    }
#endif
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    rounded = _mm512_srli_epi32(rounded, 16);
    rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc0));
    return _mm512_cvtepi32_epi16(rounded);
  }
  NNZOO_INLINE void store(BFloat16* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow()); }
  NNZOO_INLINE void stream(BFloat16* p) const { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), narrow()); }
  NNZOO_INLINE void store(BFloat16* p, int count) const {
    _mm256_mask_storeu_epi16(p, first_lanes<float>(count).m, narrow());
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 8;
  __m512d v;

  static NNZOO_INLINE Vec zero() { return {_mm512_setzero_pd()}; }
  static NNZOO_INLINE Vec set(double x) { return {_mm512_set1_pd(x)}; }
  static NNZOO_INLINE Vec from_bits(std::uint64_t u) {
    return {_mm512_castsi512_pd(_mm512_set1_epi64(static_cast<long long>(u)))};
  }
  static NNZOO_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static NNZOO_INLINE Vec load(const double* p, int count) {
    return {_mm512_maskz_loadu_pd(first_lanes<double>(count).m, p)};
  }
  NNZOO_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
  NNZOO_INLINE void stream(double* p) const { _mm512_stream_pd(p, v); }
  NNZOO_INLINE void store(double* p, int count) const { _mm512_mask_storeu_pd(p, first_lanes<double>(count).m, v); }
};

#define NNZOO_BINARY(name, op)                                                                      \
  NNZOO_INLINE Vec<float> name(Vec<float> a, Vec<float> b) { return {_mm512_##op##_ps(a.v, b.v)}; } \
  NNZOO_INLINE Vec<double> name(Vec<double> a, Vec<double> b) { return {_mm512_##op##_pd(a.v, b.v)}; }
NNZOO_BINARY(operator+, add)
NNZOO_BINARY(operator-, sub)
NNZOO_BINARY(operator*, mul)
NNZOO_BINARY(operator/, div)
NNZOO_BINARY(min, min)
NNZOO_BINARY(max, max)
NNZOO_BINARY(bit_and, and)
NNZOO_BINARY(bit_or, or)
NNZOO_BINARY(bit_xor, xor)
NNZOO_BINARY(bit_andnot, andnot)
#undef NNZOO_BINARY

#define NNZOO_COMPARE(name, predicate)                                                                            \
  NNZOO_INLINE Mask<float> name(Vec<float> a, Vec<float> b) { return {_mm512_cmp_ps_mask(a.v, b.v, predicate)}; } \
  NNZOO_INLINE Mask<double> name(Vec<double> a, Vec<double> b) { return {_mm512_cmp_pd_mask(a.v, b.v, predicate)}; }
NNZOO_COMPARE(operator<, _CMP_LT_OQ)
NNZOO_COMPARE(operator<=, _CMP_LE_OQ)
NNZOO_COMPARE(operator>, _CMP_GT_OQ)
NNZOO_COMPARE(operator>=, _CMP_GE_OQ)
NNZOO_COMPARE(operator==, _CMP_EQ_OQ)
NNZOO_COMPARE(operator!=, _CMP_NEQ_UQ)
#undef NNZOO_COMPARE

NNZOO_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm512_sqrt_ps(a.v)}; }
NNZOO_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm512_sqrt_pd(a.v)}; }
NNZOO_INLINE float reduce_add(Vec<float> a) { return _mm512_reduce_add_ps(a.v); }
NNZOO_INLINE double reduce_add(Vec<double> a) { return _mm512_reduce_add_pd(a.v); }
NNZOO_INLINE float reduce_max(Vec<float> a) { return _mm512_reduce_max_ps(a.v); }
NNZOO_INLINE double reduce_max(Vec<double> a) { return _mm512_reduce_max_pd(a.v); }
NNZOO_INLINE float reduce_min(Vec<float> a) { return _mm512_reduce_min_ps(a.v); }
NNZOO_INLINE double reduce_min(Vec<double> a) { return _mm512_reduce_min_pd(a.v); }

NNZOO_INLINE Vec<float> select(Mask<float> m, Vec<float> a, Vec<float> b) {
  return {_mm512_mask_blend_ps(m.m, b.v, a.v)};
}
NNZOO_INLINE Vec<double> select(Mask<double> m, Vec<double> a, Vec<double> b) {
  return {_mm512_mask_blend_pd(m.m, b.v, a.v)};
}

// x * 2^n for integer n, correct also where the result is subnormal (vmath.h has the version for other ISAs).
NNZOO_INLINE Vec<float> scale_by_power(Vec<float> x, Vec<float> n) { return {_mm512_scalef_ps(x.v, n.v)}; }
NNZOO_INLINE Vec<double> scale_by_power(Vec<double> x, Vec<double> n) { return {_mm512_scalef_pd(x.v, n.v)}; }

template <int n>
NNZOO_INLINE Vec<float> shift_left(Vec<float> a) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<double> shift_left(Vec<double> a) {
  return {_mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<float> shift_right(Vec<float> a) {
  return {_mm512_castsi512_ps(_mm512_srli_epi32(_mm512_castps_si512(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<double> shift_right(Vec<double> a) {
  return {_mm512_castsi512_pd(_mm512_srli_epi64(_mm512_castpd_si512(a.v), n))};
}

template <class T>
NNZOO_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) {
  return {static_cast<decltype(a.m)>(a.m & b.m)};
}
template <class T>
NNZOO_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) {
  return {static_cast<decltype(a.m)>(a.m | b.m)};
}
template <class T>
NNZOO_INLINE Mask<T> operator~(Mask<T> a) {
  return {static_cast<decltype(a.m)>(~a.m)};
}
template <class T>
NNZOO_INLINE bool any(Mask<T> a) {
  return a.m != 0;
}
template <class T>
NNZOO_INLINE bool all(Mask<T> a) {
  return static_cast<decltype(a.m)>(~a.m) == 0;
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
