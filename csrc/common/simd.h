// One small vector type for the instruction set that this file is compiled for.
//
// Vec<float> and Vec<double> hold `width` lanes (AVX-512: 16 and 8, AVX2: 8 and 4, SSE2 and others: 4 and 2):
//   Vec::zero() Vec::set(x) Vec::load(p) Vec::load(p, count)      count lanes, the others zero; never reads beyond
//   Vec::from_bits(u)                                             every lane with this bit pattern
//   v.store(p) v.store(p, count)
//   v.stream(p)                                                   past the caches, p aligned as the vector;
//   store_fence()
//   + - * /  fma(a, b, c) = a*b + c   fnma(a, b, c) = c - a*b     fused where the ISA has it
//   min max (b where either is NaN)   abs neg sqrt   reduce_add reduce_max reduce_min
//   a < b, a <= b, a > b, a >= b, a == b, a != b  give Mask<T>    != is true for NaN
//   select(mask, a, b), mask & mask, mask | mask, ~mask, any(mask), all(mask), first_lanes<T>(count)
//   bit_and bit_or bit_xor bit_andnot(a, b) = ~a & b, shift_left<n> shift_right<n>      on the lanes' bit patterns
// Vec<float> also loads and stores BFloat16 (round to nearest even), in full and in part.
//
// Where the CPU multiplies pairs (AVX-512 BF16), Vec<BFloat16Pair> holds as many pairs as Vec<float> has lanes:
//   set load store; load(p) and load(p, count) also from BFloat16, pairs being neighbours, count in values
//   Vec::interleave(even, odd) Vec::interleave(even, odd, count)  pairs of two rows; `odd` left out: zeros
//   fma(a, b, c)                                                  Vec<float> c + a.even * b.even + a.odd * b.odd
#pragma once

#include "common/dtype.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "common/simd_avx512.h"
#if defined(__AVX512BF16__)
#include "common/simd_avx512_bf16.h"
#endif
#elif defined(__AVX2__) && defined(__FMA__)
#include "common/simd_avx2.h"
#elif defined(__SSE2__)
#include "common/simd_sse2.h"
#else
#include "common/simd_scalar.h"
#endif

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
NNZOO_INLINE Vec<T> neg(Vec<T> a) {
  return bit_xor(a, Vec<T>::set(T(-0.0)));
}

template <class T>
NNZOO_INLINE Vec<T> abs(Vec<T> a) {
  return bit_andnot(Vec<T>::set(T(-0.0)), a);
}

template <class T>
NNZOO_INLINE Vec<T> operator-(Vec<T> a) {
  return neg(a);
}

template <class T>
NNZOO_INLINE Vec<T>& operator+=(Vec<T>& a, Vec<T> b) {
  return a = a + b;
}

template <class T>
NNZOO_INLINE Vec<T>& operator-=(Vec<T>& a, Vec<T> b) {
  return a = a - b;
}

template <class T>
NNZOO_INLINE Vec<T>& operator*=(Vec<T>& a, Vec<T> b) {
  return a = a * b;
}

template <class T>
NNZOO_INLINE Mask<T> is_nan(Vec<T> a) {
  return a != a;
}

// The first `count` lanes from and to memory; the whole vector's own instructions where count is known to be its width.
template <class T, class S>
NNZOO_INLINE Vec<T> load_lanes(const S* p, int count) {
  return count == Vec<T>::width ? Vec<T>::load(p) : Vec<T>::load(p, count);
}

template <class T, class S>
NNZOO_INLINE void store_lanes(Vec<T> v, S* p, int count) {
  if (count == Vec<T>::width) {
    v.store(p);
  } else {
    v.store(p, count);
  }
}

// Stores that streamed become visible to other threads.
NNZOO_INLINE void store_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

NNZOO_INLINE void prefetch(const void* address) { __builtin_prefetch(address); }
NNZOO_INLINE void prefetch_to_level2(const void* address) { __builtin_prefetch(address, 0, 2); }

// Runs `vector(i, count)` over 0..n in steps of the vector width; count is the width but in the last step.
template <class T, class Function>
NNZOO_INLINE void for_each_vector(std::int64_t n, const Function& vector) {
  constexpr int width = Vec<T>::width;
  std::int64_t i = 0;
  for (; i + width <= n; i += width) vector(i, width);
  if (i < n) vector(i, static_cast<int>(n - i));
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
