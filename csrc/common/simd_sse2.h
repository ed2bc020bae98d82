// Vec<float> and Vec<double> on SSE2, which every x86-64 has. Included by simd.h, which documents the interface.
#pragma once

#include <emmintrin.h>

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
struct Vec;
template <class T>
struct Mask;

template <>
struct Mask<float> {
  __m128 m;
};
template <>
struct Mask<double> {
  __m128d m;
};

template <class T>
Mask<T> first_lanes(int count);
template <>
NNZOO_INLINE Mask<float> first_lanes<float>(int count) {
  return {_mm_castsi128_ps(_mm_cmpgt_epi32(_mm_set1_epi32(count), _mm_setr_epi32(0, 1, 2, 3)))};
}
template <>
NNZOO_INLINE Mask<double> first_lanes<double>(int count) {
  return {_mm_castsi128_pd(_mm_cmpgt_epi32(_mm_set1_epi32(count), _mm_setr_epi32(0, 0, 1, 1)))};
}

// SSE2 has no masked memory access: a partial vector goes through a small array.
template <class V, class S>
NNZOO_INLINE V load_partial(const S* p, int count) {
  S lanes[V::width] = {};
  for (int i = 0; i < count; ++i) lanes[i] = p[i];
  return V::load(lanes);
}
template <class V, class S>
NNZOO_INLINE void store_partial(V v, S* p, int count) {
  if (count == V::width) return v.store(p);
  S lanes[V::width];
  v.store(lanes);
  for (int i = 0; i < count; ++i) p[i] = lanes[i];
}

template <>
struct Vec<float> {
  static constexpr int width = 4;
  __m128 v;

  static NNZOO_INLINE Vec zero() { return {_mm_setzero_ps()}; }
  static NNZOO_INLINE Vec set(float x) { return {_mm_set1_ps(x)}; }
  static NNZOO_INLINE Vec from_bits(std::uint32_t u) { return {_mm_castsi128_ps(_mm_set1_epi32(static_cast<int>(u)))}; }
  static NNZOO_INLINE Vec load(const float* p) { return {_mm_loadu_ps(p)}; }
  static NNZOO_INLINE Vec load(const BFloat16* p) {
    const __m128i half = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), half))};
  }
  template <class S>
  static NNZOO_INLINE Vec load(const S* p, int count) {
    return load_partial<Vec>(p, count);
  }
  NNZOO_INLINE void store(float* p) const { _mm_storeu_ps(p, v); }
  NNZOO_INLINE void stream(float* p) const { _mm_stream_ps(p, v); }
  NNZOO_INLINE void stream(BFloat16* p) const { store(p); }
  NNZOO_INLINE void store(BFloat16* p) const {
    const __m128i bits = _mm_castps_si128(v);
    const __m128i odd = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(1));
    __m128i rounded = _mm_add_epi32(_mm_add_epi32(bits, _mm_set1_epi32(0x7fff)), odd);
    const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(v, v));
    rounded = _mm_or_si128(_mm_andnot_si128(nan, rounded), _mm_and_si128(nan, _mm_set1_epi32(0x7fc00000)));
    // The arithmetic shift keeps every value inside int16, which is what the signed pack needs.
    const __m128i high = _mm_srai_epi32(rounded, 16);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(high, high));
  }
  template <class S>
  NNZOO_INLINE void store(S* p, int count) const {
    store_partial(*this, p, count);
  }
};

template <>
struct Vec<double> {
  static constexpr int width = 2;
  __m128d v;

  static NNZOO_INLINE Vec zero() { return {_mm_setzero_pd()}; }
  static NNZOO_INLINE Vec set(double x) { return {_mm_set1_pd(x)}; }
  static NNZOO_INLINE Vec from_bits(std::uint64_t u) {
    return {_mm_castsi128_pd(_mm_set1_epi64x(static_cast<long long>(u)))};
  }
  static NNZOO_INLINE Vec load(const double* p) { return {_mm_loadu_pd(p)}; }
  static NNZOO_INLINE Vec load(const double* p, int count) { return load_partial<Vec>(p, count); }
  NNZOO_INLINE void store(double* p) const { _mm_storeu_pd(p, v); }
  NNZOO_INLINE void stream(double* p) const { _mm_stream_pd(p, v); }
  NNZOO_INLINE void store(double* p, int count) const { store_partial(*this, p, count); }
};

#define NNZOO_BINARY(name, op)                                                                   \
  NNZOO_INLINE Vec<float> name(Vec<float> a, Vec<float> b) { return {_mm_##op##_ps(a.v, b.v)}; } \
  NNZOO_INLINE Vec<double> name(Vec<double> a, Vec<double> b) { return {_mm_##op##_pd(a.v, b.v)}; }
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

#define NNZOO_COMPARE(name, op)                                                                      \
  NNZOO_INLINE Mask<float> name(Vec<float> a, Vec<float> b) { return {_mm_cmp##op##_ps(a.v, b.v)}; } \
  NNZOO_INLINE Mask<double> name(Vec<double> a, Vec<double> b) { return {_mm_cmp##op##_pd(a.v, b.v)}; }
NNZOO_COMPARE(operator<, lt)
NNZOO_COMPARE(operator<=, le)
NNZOO_COMPARE(operator>, gt)
NNZOO_COMPARE(operator>=, ge)
NNZOO_COMPARE(operator==, eq)
NNZOO_COMPARE(operator!=, neq)
#undef NNZOO_COMPARE

template <class T>
NNZOO_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a * b + c;
}
template <class T>
NNZOO_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return c - a * b;
}
NNZOO_INLINE Vec<float> sqrt(Vec<float> a) { return {_mm_sqrt_ps(a.v)}; }
NNZOO_INLINE Vec<double> sqrt(Vec<double> a) { return {_mm_sqrt_pd(a.v)}; }

#define NNZOO_REDUCE(name, op)                                       \
  NNZOO_INLINE float name(Vec<float> a) {                            \
    const __m128 x = _mm_##op##_ps(a.v, _mm_movehl_ps(a.v, a.v));    \
    return _mm_cvtss_f32(_mm_##op##_ss(x, _mm_shuffle_ps(x, x, 1))); \
  }                                                                  \
  NNZOO_INLINE double name(Vec<double> a) { return _mm_cvtsd_f64(_mm_##op##_sd(a.v, _mm_unpackhi_pd(a.v, a.v))); }
NNZOO_REDUCE(reduce_add, add)
NNZOO_REDUCE(reduce_max, max)
NNZOO_REDUCE(reduce_min, min)
#undef NNZOO_REDUCE

NNZOO_INLINE Vec<float> select(Mask<float> m, Vec<float> a, Vec<float> b) {
  return {_mm_or_ps(_mm_and_ps(m.m, a.v), _mm_andnot_ps(m.m, b.v))};
}
NNZOO_INLINE Vec<double> select(Mask<double> m, Vec<double> a, Vec<double> b) {
  return {_mm_or_pd(_mm_and_pd(m.m, a.v), _mm_andnot_pd(m.m, b.v))};
}

template <int n>
NNZOO_INLINE Vec<float> shift_left(Vec<float> a) {
  return {_mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<double> shift_left(Vec<double> a) {
  return {_mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<float> shift_right(Vec<float> a) {
  return {_mm_castsi128_ps(_mm_srli_epi32(_mm_castps_si128(a.v), n))};
}
template <int n>
NNZOO_INLINE Vec<double> shift_right(Vec<double> a) {
  return {_mm_castsi128_pd(_mm_srli_epi64(_mm_castpd_si128(a.v), n))};
}

#define NNZOO_MASK(T, suffix, ones)                                                                              \
  NNZOO_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {_mm_and_##suffix(a.m, b.m)}; }                  \
  NNZOO_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {_mm_or_##suffix(a.m, b.m)}; }                   \
  NNZOO_INLINE Mask<T> operator~(Mask<T> a) { return {_mm_xor_##suffix(a.m, first_lanes<T>(Vec<T>::width).m)}; } \
  NNZOO_INLINE bool any(Mask<T> a) { return _mm_movemask_##suffix(a.m) != 0; }                                   \
  NNZOO_INLINE bool all(Mask<T> a) { return _mm_movemask_##suffix(a.m) == ones; }
NNZOO_MASK(float, ps, 0xf)
NNZOO_MASK(double, pd, 0x3)
#undef NNZOO_MASK

}  // namespace NNZOO_ISA
}  // namespace nnzoo
