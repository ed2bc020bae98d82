// Mean and squared deviations of values in memory, in an order that depends on nothing but their number.
//
// Values are read once, as deviations from a guess at their mean: while that is within two standard deviations, sums of
// deviations and of their squares say as much as those about the mean itself, and a mean far from 0 costs no digits.
// Where the guess turns out worse, the values are read again, from cache, about the mean that was found. Chunks are
// merged as in Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
#pragma once

#include "common/simd.h"

namespace nnzoo {
namespace NNZOO_ISA {

struct Moments {
  double count, mean, squares;  // squares: the sum of (x - mean)^2
};

template <class T>
NNZOO_INLINE bool is_finite(T x) {
  return x - x == 0;
}

NNZOO_INLINE Moments merged(Moments a, Moments b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
  const double mean = is_finite(delta) ? a.mean + delta * share : a.mean + b.mean;  // an infinite one stays so
  return {count, mean, a.squares + b.squares + delta * delta * a.count * share};
}

// The moments of `count` values whose deviations from `about` have these sums of themselves and of their squares.
NNZOO_INLINE Moments moments_of(double count, double about, double deviations, double squares) {
  const double missed = deviations / count, left = squares - missed * deviations;
  return {count, about + missed, left < 0 ? 0 : left};
}

// Whether `about`, from which these moments were found, was too bad a guess.
NNZOO_INLINE bool is_far(const Moments& found, double about) {
  const double missed = found.mean - about;
  return missed * missed * found.count > 4 * found.squares;
}

// The values of a chunk: 16 KB of floats.
constexpr std::int64_t moments_chunk = 4096;

// out[k] = the sum of sum[k] over vectors of the values 0..n, to which `term(i, count, sum)` adds the values i to
// i + count - 1.
template <class T, int outputs, int unroll = 4, class Term>
NNZOO_INLINE void vector_sums(std::int64_t n, T* out, const Term& term) {
  constexpr int width = Vec<T>::width;
  Vec<T> sum[unroll][outputs];
  for (int u = 0; u < unroll; ++u) {
    for (int k = 0; k < outputs; ++k) sum[u][k] = Vec<T>::zero();
  }
  std::int64_t i = 0;
  for (; i + unroll * width <= n; i += unroll * width) {
#pragma GCC unroll 4
    for (int u = 0; u < unroll; ++u) term(i + u * width, width, sum[u]);
  }
  for (; i + width <= n; i += width) term(i, width, sum[0]);
  if (i < n) {
    const int count = static_cast<int>(n - i);
    Vec<T> rest[outputs];
    for (int k = 0; k < outputs; ++k) rest[k] = Vec<T>::zero();
    term(i, count, rest);
    for (int k = 0; k < outputs; ++k) sum[1][k] += select(first_lanes<T>(count), rest[k], Vec<T>::zero());
  }
  for (int k = 0; k < outputs; ++k) {
    Vec<T> total = sum[0][k];
    for (int u = 1; u < unroll; ++u) total += sum[u][k];
    out[k] = reduce_add(total);
  }
}

template <class T, class S>
NNZOO_INLINE Moments moments_about(const S* x, std::int64_t n, T about) {
  const Vec<T> center = Vec<T>::set(about);
  T found[2];
  vector_sums<T, 2>(n, found, [&](std::int64_t i, int count, Vec<T>* sum) {
    const Vec<T> deviation = load_lanes<T>(x + i, count) - center;
    sum[0] += deviation;
    sum[1] = fma(deviation, deviation, sum[1]);
  });
  return moments_of(static_cast<double>(n), about, found[0], found[1]);
}

// A guess must be finite: from an infinite one, every deviation would be infinite or NaN.
template <class T>
NNZOO_INLINE T usable_guess(T guess) {
  return is_finite(guess) ? guess : T(0);
}

// `n` > 0 values.
template <class T, class S>
NNZOO_INLINE Moments moments(const S* x, std::int64_t n) {
  Moments all{0, 0, 0};
  for (std::int64_t i = 0; i < n; i += moments_chunk) {
    const std::int64_t size = n - i < moments_chunk ? n - i : moments_chunk;
    const int few = static_cast<int>(size < Vec<T>::width ? size : Vec<T>::width);
    const T about = usable_guess(reduce_add(Vec<T>::load(x + i, few)) / T(few));
    Moments chunk = moments_about<T>(x + i, size, about);
    if (is_far(chunk, about)) chunk = moments_about<T>(x + i, size, static_cast<T>(chunk.mean));
    all = merged(all, chunk);
  }
  return all;
}

// Sums over chunks, each added up apart.
template <class T, class Term>
NNZOO_INLINE T chunked_sum(std::int64_t n, const Term& term) {
  T sum = 0;
  for (std::int64_t i = 0; i < n; i += moments_chunk) {
    T chunk;
    vector_sums<T, 1>(n - i < moments_chunk ? n - i : moments_chunk, &chunk,
                      [&](std::int64_t j, int count, Vec<T>* total) { total[0] += term(i + j, count); });
    sum += chunk;
  }
  return sum;
}

NNZOO_INLINE double inverse_root(double x) { return 1 / __builtin_sqrt(x); }

}  // namespace NNZOO_ISA
}  // namespace nnzoo
