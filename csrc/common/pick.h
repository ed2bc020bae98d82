// pick(p, places): the vector whose lane i is p[places[i]], places being int32 from 0 to below the width. It may read
// all of p[0..width).
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

#if defined(__AVX512F__)
NNZOO_INLINE Vec<float> pick(const float* p, const std::int32_t* places) {
  return {_mm512_permutexvar_ps(_mm512_loadu_si512(places), _mm512_loadu_ps(p))};
}
NNZOO_INLINE Vec<double> pick(const double* p, const std::int32_t* places) {
  const __m256i indices = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(places));
  return {_mm512_permutexvar_pd(_mm512_cvtepi32_epi64(indices), _mm512_loadu_pd(p))};
}
#elif defined(__AVX2__)
NNZOO_INLINE Vec<float> pick(const float* p, const std::int32_t* places) {
  const __m256i indices = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(places));
  return {_mm256_permutevar8x32_ps(_mm256_loadu_ps(p), indices)};
}
NNZOO_INLINE Vec<double> pick(const double* p, const std::int32_t* places) {
  return {_mm256_setr_pd(p[places[0]], p[places[1]], p[places[2]], p[places[3]])};
}
#elif defined(__SSE2__)
NNZOO_INLINE Vec<float> pick(const float* p, const std::int32_t* places) {
  return {_mm_setr_ps(p[places[0]], p[places[1]], p[places[2]], p[places[3]])};
}
NNZOO_INLINE Vec<double> pick(const double* p, const std::int32_t* places) {
  return {_mm_setr_pd(p[places[0]], p[places[1]])};
}
#else
template <class T>
NNZOO_INLINE Vec<T> pick(const T* p, const std::int32_t* places) {
  return Vec<T>::generate([=](int i) { return p[places[i]]; });
}
#endif

}  // namespace NNZOO_ISA
}  // namespace nnzoo
