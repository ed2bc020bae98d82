// log(sum of exp) of a row, in one pass over memory: the largest value so far and the sum of exp(x - largest).
//
// Both are kept apart. As one number, a row of values near 1e4 would lose the digits of the logarithm.
#pragma once

#include "common/vmath.h"

namespace nnzoo {
namespace NNZOO_ISA {

template <class T>
struct LogSumExp {
  T largest, log_sum;
};

template <class T>
NNZOO_INLINE T lowest() {
  return reduce_max(neg(Vec<T>::from_bits(FloatFormat<T>::infinity)));
}

template <class T>
NNZOO_INLINE T exp_of(T x) {
  return reduce_max(exp(Vec<T>::set(x)));
}
template <class T>
NNZOO_INLINE T log_of(T x) {
  return reduce_max(log(Vec<T>::set(x)));
}

// Calls vector(lane, i, count) over 0..n; `lane` is one of 4, for sums that don't wait for each other.
template <class T, class Function>
NNZOO_INLINE void for_each_vector_of_four(std::int64_t n, const Function& vector) {
  constexpr int width = Vec<T>::width;
  std::int64_t i = 0;
  for (; i + 4 * width <= n; i += 4 * width) {
#pragma GCC unroll 4
    for (int lane = 0; lane < 4; ++lane) vector(lane, i + lane * width, width);
  }
  for (; i + width <= n; i += width) vector(0, i, width);
  if (i < n) vector(1, i, static_cast<int>(n - i));
}

template <class T>
struct FourSums {
  Vec<T> sum[4] = {Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
  NNZOO_INLINE T total() const { return reduce_add((sum[0] + sum[1]) + (sum[2] + sum[3])); }
};

// The largest of n values; those that are NaN don't count.
template <class T, class S>
NNZOO_INLINE T largest_of(const S* x, std::int64_t n) {
  const Vec<T> none = Vec<T>::set(lowest<T>());
  Vec<T> most[4] = {none, none, none, none};
  for_each_vector_of_four<T>(n, [&](int lane, std::int64_t i, int count) {
    const Vec<T> v = Vec<T>::load(x + i, count);
    most[lane] = max(count == Vec<T>::width ? v : select(first_lanes<T>(count), v, none), most[lane]);
  });
  return reduce_max(max(max(most[0], most[1]), max(most[2], most[3])));
}

// Sum of exp(x - shift); `each(i, count, value)` sees the terms.
template <class T, class S, class Each>
NNZOO_INLINE T sum_of_exp(const S* x, std::int64_t n, T shift, const Each& each) {
  FourSums<T> sums;
  const Vec<T> by = Vec<T>::set(shift);
  for_each_vector_of_four<T>(n, [&](int lane, std::int64_t i, int count) {
    const Vec<T> e = exp(Vec<T>::load(x + i, count) - by);
    each(i, count, e);
    sums.sum[lane] += count == Vec<T>::width ? e : select(first_lanes<T>(count), e, Vec<T>::zero());
  });
  return sums.total();
}

// Blocks of a row stay in the first-level cache between the search for the largest and the sum.
constexpr std::int64_t softmax_block = 2048;

template <class T, class S>
LogSumExp<T> log_sum_exp(const S* x, std::int64_t n) {
  T largest = lowest<T>(), sum = T(0);
  for (std::int64_t begin = 0; begin < n; begin += softmax_block) {
    const std::int64_t count = n - begin < softmax_block ? n - begin : softmax_block;
    const T here = largest_of<T>(x + begin, count);
    if (here > largest) {
      if (sum != T(0)) sum *= exp_of(largest - here);
      largest = here;
    }
    // While all values were -infinity, their difference from the largest would be NaN.
    const T shift = largest == lowest<T>() && begin + count < n ? T(0) : largest;
    sum += sum_of_exp<T>(x + begin, count, shift, [](std::int64_t, int, Vec<T>) {});
  }
  return {largest, log_of(sum)};
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
