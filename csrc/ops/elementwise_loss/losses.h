// Each loss as a functor: its value, and its derivative by the input.
#pragma once

#include "common/vmath.h"

namespace nnzoo {
namespace NNZOO_ISA {

// Without `rises`, rise is 1 and left out: times an infinite target, a difference of 0 would make no number.
template <bool rises>
struct BinaryCrossEntropy {
  template <class T>
  static NNZOO_INLINE Vec<T> value(Vec<T> x, Vec<T> y, Vec<T> weight, Vec<T> rise) {
    const Vec<T> one = Vec<T>::set(T(1));
    const Vec<T> surprise = max(Vec<T>::zero(), neg(x)) + log1p(exp(neg(abs(x))));
    if constexpr (!rises) return weight * fma(one - y, x, surprise);
    return weight * fma(one - y, x, fma(rise - one, y, one) * surprise);
  }
  template <class T>
  static NNZOO_INLINE Vec<T> derivative(Vec<T> x, Vec<T> y, Vec<T> weight, Vec<T> rise) {
    if constexpr (!rises) return weight * (sigmoid(x) - y);
    const Vec<T> positive = rise * y;
    return weight * (fma(positive + (Vec<T>::set(T(1)) - y), sigmoid(x), neg(positive)));
  }
};

struct KlDiv {
  template <class T>
  static NNZOO_INLINE Vec<T> value(Vec<T> x, Vec<T> y, Vec<T>, Vec<T>) {
    return fnma(y, x, select(y == Vec<T>::zero(), Vec<T>::zero(), y * log(y)));
  }
  template <class T>
  static NNZOO_INLINE Vec<T> derivative(Vec<T>, Vec<T> y, Vec<T>, Vec<T>) {
    return neg(y);
  }
};

struct KlDivOfLogarithms {
  template <class T>
  static NNZOO_INLINE Vec<T> value(Vec<T> x, Vec<T> y, Vec<T>, Vec<T>) {
    return exp(y) * (y - x);
  }
  template <class T>
  static NNZOO_INLINE Vec<T> derivative(Vec<T>, Vec<T> y, Vec<T>, Vec<T>) {
    return neg(exp(y));
  }
};

}  // namespace NNZOO_ISA
}  // namespace nnzoo
