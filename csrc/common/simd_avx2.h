// Vec<float> and Vec<double> on AVX2 with FMA. Included by simd.h, which documents the interface.
#pragma once

#include <immintrin.h>

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
struct Vec;
template <class T>
struct Mask;

template <>
struct Mask<float> {
  __m256 m;
};
template <>
struct Mask<double> {
  __m256d m;
};

template <class T>
Mask<T> first_lanes(int count);
template <>
NNZOO_INLINE Mask<float> first_lanes<float>(int count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane))};
}
template <>
NNZOO_INLINE Mask<double> first_lanes<double>(int count) {
  const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
  return {_mm256_castsi256_pd(_mm256_cmpgt_epi64(_mm256_set1_epi64x(count), lane))};
}

template <>
struct Vec<float> {
  static constexpr int width = 8;
  __m256 v;

  static NNZOO_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
  static NNZOO_INLINE Vec set(float x) { return {_mm256_set1_ps(x)}; }
  static NNZOO_INLINE Vec from_bits(std::uint32_t u) {
    return {_mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(u)))};
  }
  static NNZOO_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static NNZOO_INLINE Vec load(const float* p, int count) {
    return {_mm256_maskload_ps(p, _mm256_castps_si256(first_lanes<float>(count).m))};
  }
  static NNZOO_INLINE Vec load(const BFloat16* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16))};
  }
  static NNZOO_INLINE Vec load(const BFloat16* p, int count) {
    BFloat16 lanes[width] = {};
    for (int i = 0; i < count; ++i) lanes[i] = p[i];
    return load(lanes);
  }
  NNZOO_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  NNZOO_INLINE void stream(float* p) const { _mm256_stream_ps(p, v); }
  NNZOO_INLINE void store(float* p, int count) const {
    if (count == width) return store(p);
    _mm256_maskstore_ps(p, _mm256_castps_si256(first_lanes<float>(count).m), v);
  }
  NNZOO_INLINE __m128i narrow() const {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
    rounded = _mm256_srli_epi32(rounded, 16);
    rounded =
        _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc0), _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    return _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
  }
  NNZOO_INLINE void store(BFloat16* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow()); }
  NNZOO_INLINE void stream(BFloat16* p) const { _mm_stream_si128(reinterpret_cast<__m128i*>(p), narrow()); }
  NNZOO_INLINE void store(BFloat16* p, int count) const {
    if (count == width) return store(p);
    BFloat16 lanes[width];
    store(lanes);
    for (int i = 0; i < count; ++i) p[i] = lanes[i];
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 4;
  __m256d v;

  static NNZOO_INLINE Vec zero() { return {_mm256_setzero_pd()}; }
  static NNZOO_INLINE Vec set(double x) { return {_mm256_set1_pd(x)}; }
  static NNZOO_INLINE Vec from_bits(std::uint64_t u) {
    return {_mm256_castsi256_pd(_mm256_set1_epi64x(static_cast<long long>(u)))};
  }
  static NNZOO_INLINE Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static NNZOO_INLINE Vec load(const double* p, int count) {
    return {_mm256_maskload_pd(p, _mm256_castpd_si256(first_lanes<double>(count).m))};
  }
  NNZOO_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
  NNZOO_INLINE void stream(double* p) const { _mm256_stream_pd(p, v); }
  NNZOO_INLINE void store(double* p, int count) const {
    if (count == width) return store(p);
    _mm256_maskstore_pd(p, _mm256_castpd_si256(first_lanes<double>(count).m), v);
  }
};

#define NNZOO_BINARY(name, op)                                                                      \
  NNZOO_INLINE Vec<float> name(Vec<float> a, Vec<float> b) { return {_mm256_##op##_ps(a.v, b.v)}; } \
  NNZOO_INLINE Vec<double> name(Vec<double> a, Vec<double> b) { return {_mm256_##op##_pd(a.v, b.v)}; }
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

#define NNZOO_COMPARE(name, predicate)                                                                       \
  NNZOO_INLINE Mask<float> name(Vec<float> a, Vec<float> b) { return {_mm256_cmp_ps(a.v, b.v, predicate)}; } \
  NNZOO_INLINE Mask<double> name(Vec<double> a, Vec<double> b) { return {_mm256_cmp_pd(a.v, b.v, predicate)}; }
NNZOO_COMPARE(operator<, _CMP_LT_OQ)
NNZOO_COMPARE(operator<=, _CMP_LE_OQ)
NNZOO_COMPARE(operator>, _CMP_GT_OQ)
NNZOO_COMPARE(operator>=, _CMP_GE_OQ)
NNZOO_COMPARE(operator==, _CMP_EQ_OQ)
NNZOO_COMPARE(operator!=, _CMP_NEQ_UQ)
#undef NNZOO_COMPARE

NNZOO_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }
NNZOO_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm256_sqrt_ps(a.v)}; }
NNZOO_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm256_sqrt_pd(a.v)}; }

#define NNZOO_REDUCE(name, op)                                                                   \
  NNZOO_INLINE float name(Vec<float> a) {                                                        \
    __m128 x = _mm_##op##_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));        \
    x = _mm_##op##_ps(x, _mm_movehl_ps(x, x));                                                   \
    return _mm_cvtss_f32(_mm_##op##_ss(x, _mm_movehdup_ps(x)));                                  \
  }                                                                                              \
  NNZOO_INLINE double name(Vec<double> a) {                                                      \
    const __m128d x = _mm_##op##_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1)); \
    return _mm_cvtsd_f64(_mm_##op##_sd(x, _mm_unpackhi_pd(x, x)));                               \
  }
NNZOO_REDUCE(reduce_add, add)
NNZOO_REDUCE(reduce_max, max)
NNZOO_REDUCE(reduce_min, min)
#undef NNZOO_REDUCE

NNZOO_INLINE Vec<float> select(Mask<float> m, Vec<float> a, Vec<float> b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
NNZOO_INLINE Vec<double> select(Mask<double> m, Vec<double> a, Vec<double> b) {
  return {_mm256_blendv_pd(b.v, a.v, m.m)};
}

template <int n>
NNZOO_INLINE Vec<float> shift_left(Vec<float> a) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<double> shift_left(Vec<double> a) {
  return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<float> shift_right(Vec<float> a) {
  return {_mm256_castsi256_ps(_mm256_srli_epi32(_mm256_castps_si256(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<double> shift_right(Vec<double> a) {
  return {_mm256_castsi256_pd(_mm256_srli_epi64(_mm256_castpd_si256(a.v), n))};
}

#define NNZOO_MASK(T, suffix, ones)                                                                                 \
  NNZOO_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {_mm256_and_##suffix(a.m, b.m)}; }                  \
  NNZOO_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {_mm256_or_##suffix(a.m, b.m)}; }                   \
  NNZOO_INLINE Mask<T> operator~(Mask<T> a) { return {_mm256_xor_##suffix(a.m, first_lanes<T>(Vec<T>::width).m)}; } \
  NNZOO_INLINE bool any(Mask<T> a) { return _mm256_movemask_##suffix(a.m) != 0; }                                   \
  NNZOO_INLINE bool all(Mask<T> a) { return _mm256_movemask_##suffix(a.m) == ones; }
NNZOO_MASK(float, ps, 0xff)
NNZOO_MASK(double, pd, 0xf)
#undef NNZOO_MASK

}  // namespace NNZOO_ISA
}  // namespace nnzoo
