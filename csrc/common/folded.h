// Gates as they are kept for backward. Computed from the value, as s (1 - s) or 1 - t^2, a derivative loses its digits
// where the gate saturates, so what is kept says how far the gate is from its limit:
//
//     folded sigmoid    s where s < 1/2, else -(1 - s); a zero keeps its sign
//     folded tanh       t where |t| is small, else 1 / (1 - |t|) with the sign of t; the first is below 1, the second
//     above
//
// Both have all their digits, and unfolding them takes no exp.
#pragma once

#include "common/vmath.h"

namespace nnzoo {
namespace NNZOO_ISA {

// A function's value; what it lacks to its limit (1 - s, 1 - |t|); its derivative.
template <class T>
struct Unfolded {
  Vec<T> value, rest, derivative;
};

template <class T>
NNZOO_INLINE Vec<T> folded_sigmoid(Vec<T> x) {
  const Vec<T> e = exp(neg(abs(x)));
  return copy_sign(e / (Vec<T>::set(T(1)) + e), neg(x));
}

template <class T>
NNZOO_INLINE Unfolded<T> unfold_sigmoid(Vec<T> folded) {
  const Vec<T> half = Vec<T>::set(T(0.5)), signed_half = copy_sign(half, folded);
  const Vec<T> value = (half - signed_half) + folded, rest = (half + signed_half) - folded;
  return {value, rest, value * rest};
}

template <class T>
NNZOO_INLINE Vec<T> folded_tanh(Vec<T> x) {
  const Vec<T> half = Vec<T>::set(T(0.5)), a = abs(x);
  return tanh_given_far(x, fma(half, exp(a + a), half));
}

template <class T>
NNZOO_INLINE Unfolded<T> unfold_tanh(Vec<T> folded) {
  const Vec<T> one = Vec<T>::set(T(1)), a = abs(folded);
  const Mask<T> far = a > one;
  const Vec<T> rest = select(far, one / a, one - a);
  return {select(far, copy_sign(one - rest, folded), folded), rest, rest * (Vec<T>::set(T(2)) - rest)};
}

}  // namespace NNZOO_ISA
}  // namespace nnzoo
