// Activations and their derivatives on the device. The codes are positions in ACTIVATIONS of nnzoo_fast/activations.py.
#pragma once

#include "common/math.cuh"

namespace nnzoo {

enum class Activation : int { none = 0, relu = 1, gelu = 2, gelu_tanh = 3, silu = 4, tanh = 5, sigmoid = 6 };

template <class A>
constexpr A kSqrtHalf = A(0.70710678118654752440);
template <class A>
constexpr A kInverseSqrtTwoPi = A(0.39894228040143267794);
template <class A>
constexpr A kSqrtTwoOverPi = A(0.79788456080286535588);
template <class A>
constexpr A kGeluCubic = A(0.044715);

// One uniform branch per element: the code is the same for the whole grid.
template <class A>
__device__ A activate(Activation activation, A x) {
  switch (activation) {
    case Activation::relu:
      return x > A(0) || x != x ? x : A(0);
    case Activation::gelu:
      return A(0.5) * x * (A(1) + error_function(x * kSqrtHalf<A>));
    case Activation::gelu_tanh:
      return A(0.5) * x * (A(1) + hyperbolic_tangent(kSqrtTwoOverPi<A> * (x + kGeluCubic<A> * x * x * x)));
    case Activation::silu:
      return x * logistic(x);
    case Activation::tanh:
      return hyperbolic_tangent(x);
    case Activation::sigmoid:
      return logistic(x);
    default:
      return x;
  }
}

// Whether the derivative is written in the argument; the others use the result.
__host__ __device__ constexpr bool needs_argument(Activation activation) {
  return activation == Activation::gelu || activation == Activation::gelu_tanh || activation == Activation::silu;
}

// The derivative, from the output (relu, tanh, sigmoid) or from the argument (gelu, gelu_tanh, silu).
template <class A>
__device__ A slope(Activation activation, A kept) {
  switch (activation) {
    case Activation::relu:
      return kept <= A(0) ? A(0) : A(1);  // a NaN lets the gradient through, as in torch
    case Activation::gelu:
      return A(0.5) * (A(1) + error_function(kept * kSqrtHalf<A>)) +
             kept * kInverseSqrtTwoPi<A> * exponential(A(-0.5) * kept * kept);
    case Activation::gelu_tanh: {
      const A t = hyperbolic_tangent(kSqrtTwoOverPi<A> * (kept + kGeluCubic<A> * kept * kept * kept));
      const A inner = kSqrtTwoOverPi<A> * (A(1) + A(3) * kGeluCubic<A> * kept * kept);
      return A(0.5) * (A(1) + t) + A(0.5) * kept * (A(1) - t * t) * inner;
    }
    case Activation::silu: {
      const A s = logistic(kept);
      return s * (A(1) + kept * (A(1) - s));
    }
    case Activation::tanh:
      return A(1) - kept * kept;
    case Activation::sigmoid:
      return kept * (A(1) - kept);
    default:
      return A(1);
  }
}

// Moves the values `by` places towards the front, the first ones to the end. A loop that always works on the first few
// and then rotates needs no unrolling, and the registers no index.
template <int by, int count, class A>
__device__ __forceinline__ void rotate(A (&values)[count]) {
  A first[by];
#pragma unroll
  for (int i = 0; i < by; ++i) first[i] = values[i];
#pragma unroll
  for (int i = 0; i + by < count; ++i) values[i] = values[i + by];
#pragma unroll
  for (int i = 0; i < by; ++i) values[count - by + i] = first[i];
}

// Activates values in registers, `by` at a time.
template <int by, int count, class A>
__device__ __forceinline__ void activate_all(Activation activation, A (&values)[count]) {
  if (activation == Activation::none) return;
#pragma unroll 1
  for (int i = 0; i < count; i += by) {
#pragma unroll
    for (int j = 0; j < by; ++j) values[j] = activate(activation, values[j]);
    rotate<by>(values);
  }
}

}  // namespace nnzoo
