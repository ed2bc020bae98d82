// Mean and squared deviations of values in memory, in an order that depends on nothing but their number.
//
// Chunks that stay in the first-level cache are read twice, for the mean and then for the deviations from it, and
// merged as in Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
// So a mean far from 0 costs no digits of the variance.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

struct Moments {
  double count, mean, squares;  // squares: the sum of (x - mean)^2
};

NNZOO_INLINE Moments merged(Moments a, Moments b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

// The values of a chunk: 16 KB of floats.
constexpr std::int64_t moments_chunk = 4096;

// sum of term(i, count), a vector of the values i to i + count - 1, for i in 0..n.
template <class T, class Term>
NNZOO_INLINE T vector_sum(std::int64_t n, const Term& term) {
  constexpr int width = Vec<T>::width;
  Vec<T> a = Vec<T>::zero(), b = a, c = a, d = a;
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
    a += term(i, width);
    b += term(i + width, width);
    c += term(i + 2 * width, width);
    d += term(i + 3 * width, width);
  }
  for (; i + width <= n; i += width) a += term(i, width);
  if (i < n) {
    const int count = static_cast<int>(n - i);
    b += select(first_lanes<T>(count), term(i, count), Vec<T>::zero());
  }
  return reduce_add((a + b) + (c + d));
}

template <class T, class S>
NNZOO_INLINE Moments chunk_moments(const S* x, std::int64_t n) {
  const T about = vector_sum<T>(n, [&](std::int64_t i, int count) { return load_lanes<T>(x + i, count); }) / T(n);
  const Vec<T> center = Vec<T>::set(about);
  Vec<T> total = Vec<T>::zero();
  const T squares = vector_sum<T>(n, [&](std::int64_t i, int count) {
    const Vec<T> deviation = load_lanes<T>(x + i, count) - center;
    total += count == Vec<T>::width ? deviation : select(first_lanes<T>(count), deviation, Vec<T>::zero());
    return deviation * deviation;
  });
  // What rounding made the mean miss.
  const double missed = static_cast<double>(reduce_add(total)) / static_cast<double>(n);
  return {static_cast<double>(n), about + missed, squares - missed * missed * static_cast<double>(n)};
}

// `n` > 0 values.
template <class T, class S>
NNZOO_INLINE Moments moments(const S* x, std::int64_t n) {
  Moments all{0, 0, 0};
  for (std::int64_t i = 0; i < n; i += moments_chunk) {
    all = merged(all, chunk_moments<T>(x + i, n - i < moments_chunk ? n - i : moments_chunk));
  }
  return all;
}

// Sums over chunks, each added up apart.
template <class T, class Term>
NNZOO_INLINE T chunked_sum(std::int64_t n, const Term& term) {
  T sum = 0;
  for (std::int64_t i = 0; i < n; i += moments_chunk) {
    sum += vector_sum<T>(n - i < moments_chunk ? n - i : moments_chunk,
                         [&](std::int64_t j, int count) { return term(i + j, count); });
  }
  return sum;
}

NNZOO_INLINE double inverse_root(double x) { return 1 / __builtin_sqrt(x); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
